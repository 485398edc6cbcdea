"""Channels of each policy for slow consumers."""

from mesh import Channel, Endpoint, Mount, SocketHandler, on


class Publishing(Channel):
    """Broadcasts as many numbers as it is told, in two events."""

    @on("publish")
    def publish(self, payload):
        for number in range(payload["first"], payload["first"] + payload["count"]):
            event = "even" if number % 2 == 0 else "odd"
            self.broadcast(event, {"n": number, "pad": "x" * payload["pad"]})


class DashboardChannel(Publishing):
    slow_consumer = "latest_only"


class TickerChannel(Publishing):
    slow_consumer = "drop_oldest"
    max_behind_messages = 10


class ChatChannel(Publishing):
    pass


class UserSocket(SocketHandler):
    channels = {"dashboard:*": DashboardChannel, "ticker:*": TickerChannel, "chat:*": ChatChannel}


endpoint = Endpoint(sockets={"/socket": Mount(UserSocket, longpoll=True)})
