"""The part of the bus contract about subscriptions in force, PubSub, confirmation and status."""

import asyncio

import pytest

from mesh import Broadcast
from mesh.app import topics
from mesh.app.pubsub import PubSub
from mesh.bus.contract import DirectPaths
from mesh.bus.delivery import publish_and_confirm, subscribed, wait_until_connected, wait_until_subscribed
from mesh.bus.discovery.placement import Announcement
from tests.contract.bus_nodes import Heard, following, say
from tests.support.until import until


class SubscriptionContract:
    """A part of BusContract (bus_contract.py)."""

    # Subscriptions in force

    @pytest.mark.parametrize("turn", range(20))
    def test_no_broadcast_is_missed_after_a_subscription_is_in_force(self, run, turn):
        async def scenario(node):
            heard = Heard()
            bus, other = node("a", **heard.handlers()), node("b")
            await subscribed(other)  # it reaches the network
            bus.subscribe(topics.exact(f"room:{turn}"))
            bus.when_subscribed(lambda: say(other, "e", f"room:{turn}"))
            await until(lambda: heard.events == ["e"])

        run(scenario)

    def test_callbacks_are_called_in_order_unless_withdrawn(self, run):
        async def scenario(node):
            bus, called = node("a"), []
            bus.when_subscribed(lambda: called.append(1))
            withdraw = bus.when_subscribed(lambda: called.append(2))
            withdrawn_at_once = 2 not in called
            withdraw()
            bus.when_subscribed(lambda: called.append(3))
            await until(lambda: 3 in called)
            withdraw()  # a second time, or too late: without effect
            assert called == ([1, 3] if withdrawn_at_once else [1, 2, 3])

        run(scenario)

    def test_a_wait_for_subscriptions_can_be_cancelled(self, run):
        async def scenario(node):
            bus = node("a")
            waiting = subscribed(bus)
            waiting.cancel()
            await subscribed(bus)
            assert waiting.done()

        run(scenario)

    # Subscriptions of PubSub

    def test_a_subscription_receives_its_topics_and_no_others(self, run):
        async def scenario(node):
            pubsub = PubSub(node("a"))
            async with pubsub.subscribe("room:1") as exact, pubsub.subscribe("room:*") as rooms:
                for topic in ("room:10", "lobby", "room:1"):
                    pubsub.broadcast(topic, "e", {})
                assert [each.topic for each in await following(rooms, 2)] == ["room:10", "room:1"]
                assert await following(exact, 1) == [Broadcast("room:1", "e", {})]

        run(scenario)

    def test_a_closed_subscription_receives_nothing_until_it_is_entered_again(self, run):
        async def scenario(node):
            pubsub = PubSub(node("a"))
            async with pubsub.subscribe("room:1") as early:
                pubsub.broadcast("room:1", "e", {})
            pubsub.broadcast("room:1", "late", {})
            assert early.dropped == 0
            async with pubsub.subscribe("room:2") as later:
                pubsub.broadcast("room:2", "e", {})
                await following(later, 1)
            async with early:  # may be entered again
                pubsub.broadcast("room:1", "again", {})
                assert [each.event for each in await following(early, 1)] == ["again"]

        run(scenario)

    def test_loops_over_subscriptions_end_when_the_node_stops(self, run):
        async def scenario(node):
            bus = node("a")
            async with PubSub(bus).subscribe("room:1") as broadcasts:
                looping = asyncio.ensure_future(following(broadcasts, 1))
                await asyncio.sleep(0)
                bus.close()
                assert await looping is None
            bus.close()

        run(scenario)

    # Confirmation and status

    def test_published_broadcasts_are_confirmed_and_delivered(self, run):
        async def scenario(node):
            bus, other = node("a"), node("b")
            bus.subscribe(topics.exact("room:1"))
            await subscribed(bus)
            await wait_until_connected(other, 60.0)
            await publish_and_confirm(other, lambda: [say(other, "e") for _ in range(3)], 60.0)
            await other.confirmed(other.sequence - 2, other.sequence)
            last = say(other, "last")
            await until(lambda: bus.delivered("b", last))
            assert not bus.unread

        run(scenario)

    def test_the_status_of_a_working_bus_is_connected_with_nothing_waiting(self, run):
        async def scenario(node):
            bus = node("a")
            await wait_until_subscribed(bus, 60.0)
            status = bus.status()
            assert (status.connected, status.waiting, status.dropped) == (True, 0, 0)

        run(scenario)

    def test_paths_follow_what_nodes_announce(self, run):
        async def scenario(node):
            bus, other = node("a"), node("b")
            await subscribed(bus)
            await subscribed(other)
            ours = bus.paths.describe(Announcement(node="a", kind="worker"))
            assert (ours.node, ours.kind) == ("a", "worker")
            other.paths.node_announced(ours)
            other.paths.use_version(1)
            assert isinstance(other.paths, DirectPaths) == (other.paths.server_of("room:1") == "")
            other.paths.node_gone("a")
            say(other, "still published")

        run(scenario)
