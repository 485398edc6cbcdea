"""Rooms whose members live on all workers: what they say, and who is there."""

import os

from mesh import Channel, Endpoint, Presence, SocketHandler, on

people = Presence()


class RoomChannel(Channel):
    """`join {"as": key, "n": number}`."""

    spread = "socket"

    def join(self, topic, payload):
        return {"pid": os.getpid()}

    def after_join(self, payload):
        people.track(self, payload["as"], {"n": payload["n"]})
        self.push("presence_state", people.list(self))

    @on("say")
    def say(self, payload):
        self.broadcast("said", payload)
        return {}

    @on("list")
    def list_all(self, payload):
        return people.list(self)


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket}, presences=[people])
