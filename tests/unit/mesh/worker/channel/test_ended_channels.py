"""mesh/worker: a channel that has ended leaves no presence and no subscription, whatever still runs of it."""

import asyncio

import msgspec
import pytest

from mesh import Channel, Endpoint, Presence, SocketHandler, on
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.settings import PresenceSettings, WorkerSettings
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry
from tests.support.bus import NumberingBus
from tests.support.until import until

LINK = b"link"

presence = Presence()


def add(channel, key):
    """Whatever would stay."""
    presence.track(channel, key)
    presence.track(channel, key, topic="elsewhere")
    channel.subscribe(f"news:{key}")


class Room(Channel):
    made = []
    over = False

    def join(self, topic, payload):
        self.made.append(self)

    @on("deaf")
    async def deaf(self, payload):
        add(self, "before")
        while not Room.over:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    def terminate(self, reason):
        self.__class__.status_in_terminate = presence.get_by_key(self, "before")
        add(self, "in terminate")


class User(SocketHandler):
    channels = {"room:*": Room}


def scenario(test):
    def run():
        async def main():
            Room.over = False
            bus, sent = NumberingBus(), []
            settings = WorkerSettings(kill_seconds=0.05)
            channels = Channels(
                Endpoint({"/socket": User}),
                bus,
                lambda _, said: sent.append(said),
                settings,
                make_presences=lambda local_broadcast: PresenceRegistry.of(
                    [presence], "w", lambda *_: None, PresenceSettings(), local_broadcast
                ),
            )
            bus.channels = channels
            channels.gateway_up(LINK, "g")
            assigns = msgspec.msgpack.encode({})
            channels.handle(
                LINK,
                commands.Join(
                    1, "/socket", "room:1", "1", None, "websocket", "v2_json", assigns, JSON, b"{}"
                ),
            )
            await until(lambda: sent)
            try:
                await test(channels, bus, sent)
            finally:
                Room.made.clear()
                Room.over = True
                await channels.aclose()
                channels.presences.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def check_that_nothing_is_added(bus):
    (channel,) = Room.made
    with pytest.raises(ChannelError, match="track: the channel has ended"):
        presence.track(channel, "ghost")
    with pytest.raises(ChannelError, match="track: the channel has ended"):
        presence.track(channel, "ghost", topic="elsewhere")
    with pytest.raises(ChannelError, match="update: the channel has ended"):
        presence.update(channel, "ghost", {"n": 1})
    with pytest.raises(ChannelError, match="subscribe: the channel has ended"):
        channel.subscribe("news:1")
    presence.untrack(channel)
    channel.unsubscribe("news:1")
    assert presence.list("room:1") == presence.list("elsewhere") == {}
    assert bus.subscribed == []


@scenario
async def test_what_terminate_adds_is_over_after_it_and_nothing_is_added_later(channels, bus, sent):
    add(Room.made[0], "before")
    channels.handle(LINK, commands.Leave(1, "2"))
    await until(lambda: channels.counts() == (0, 0) and not presence.list("room:1"))
    assert Room.status_in_terminate is not None
    check_that_nothing_is_added(bus)


@scenario
async def test_a_callback_that_outlives_its_channel_adds_nothing(channels, bus, sent):
    channels.handle(LINK, commands.Push(1, "2", "deaf", JSON, b"{}"))
    await until(lambda: bus.subscribed)
    channels.handle(LINK, commands.Replace(1))
    await until(lambda: type(sent[-1]) is commands.Closed)
    check_that_nothing_is_added(bus)


@scenario
async def test_what_is_no_channel_is_tracked_for_as_long_as_it_likes(channels, bus, sent):
    channels.handle(LINK, commands.Leave(1, "2"))
    await until(lambda: channels.counts() == (0, 0))
    presence.track("a bot", "bot", topic="room:1")
    presence.update("a bot", "bot", {"n": 1}, topic="room:1")
    assert set(presence.list("room:1")) == {"bot"}
    presence.untrack("a bot")
