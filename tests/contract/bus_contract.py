"""What every bus must do: the guarantees of mesh/bus/contract.py; test_bus.py runs it on each.

A test gets `run`, which runs a scenario within one network. The scenario makes nodes there:
`node(id, **handlers)` gives a started bus.
"""

from mesh import Broadcast
from mesh.app import topics
from mesh.app.pubsub import PubSub
from mesh.bus.delivery import subscribed
from mesh.bus.frames import CALL, ONCE, TRACKER
from mesh.protocol.messages import BINARY, JSON, Sender
from tests.contract.bus_nodes import Heard, following, say
from tests.contract.bus_subscription_contract import SubscriptionContract
from tests.support.until import until


class BusContract(SubscriptionContract):
    """Subclass it, with a fixture `run`."""

    # Numbers and order

    def test_numbers_rise_by_one_from_one_and_arrive_in_the_header(self, run):
        async def scenario(node):
            heard = Heard()
            bus = node("a", **heard.handlers())
            before = bus.sequence
            bus.subscribe(topics.exact("room:1"))
            await subscribed(bus)
            given = [say(bus, "e") for _ in range(3)]
            assert given == [bus.sequence - 2, bus.sequence - 1, bus.sequence]
            assert before < given[0]
            await until(lambda: len(heard.broadcasts) == 3)
            assert [(header.origin, header.sequence) for _, header, _ in heard.broadcasts] == [
                ("a", each) for each in given
            ]

        run(scenario)

    def test_broadcasts_of_one_node_arrive_in_order(self, run):
        async def scenario(node):
            pubsub, other = PubSub(node("a")), PubSub(node("b"))
            async with pubsub.subscribe("room:1") as ours, other.subscribe("room:1") as theirs:
                for n in range(500):
                    pubsub.broadcast("room:1", "n", {"n": n})
                for broadcasts in (ours, theirs):
                    got = await following(broadcasts, 500)
                    assert [each.payload["n"] for each in got] == list(range(500))

        run(scenario)

    def test_a_broadcast_published_by_a_handler_follows_the_one_it_handles(self, run):
        async def scenario(node):
            heard, buses = Heard(), []

            def answer(topic, header, data):
                if header.event == "question":
                    say(buses[0], "answer")

            buses.append(node("a", broadcast=answer))
            buses.append(node("b", **heard.handlers()))
            for bus in buses:
                bus.subscribe(topics.exact("room:1"))
                await subscribed(bus)
            say(buses[1], "question")
            await until(lambda: len(heard.broadcasts) == 2)
            assert heard.events == ["question", "answer"]

        run(scenario)

    def test_the_publisher_is_told_the_number_of_each_broadcast_only(self, run):
        async def scenario(node):
            heard = Heard()
            bus = node("a", **heard.handlers())
            number = say(bus, "e", "room:2")
            bus.publish_kind(TRACKER, "$presence:x")
            bus.publish_direct("b", "room:1", "e", JSON, b"{}")
            assert heard.published == [("room:2", number)]

        run(scenario)

    # What arrives

    def test_every_field_of_a_broadcast_arrives(self, run):
        async def scenario(node):
            heard = Heard()
            bus, other = node("a", **heard.handlers()), node("b")
            bus.subscribe(topics.exact("room:1"))
            await subscribed(bus)
            sender = Sender("g", 7, skip=True)
            number = other.publish("room:1", "new_msg", BINARY, bytes(range(256)), sender)
            await until(lambda: heard.broadcasts)
            ((topic, header, data),) = heard.broadcasts
            assert (topic, data) == ("room:1", bytes(range(256)))
            assert (header.event, header.codec, header.sender) == ("new_msg", BINARY, sender)
            assert (header.origin, header.sequence) == ("b", number)

        run(scenario)

    def test_a_subscription_takes_an_exact_topic_a_prefix_or_everything(self, run):
        async def scenario(node):
            exact, prefix, everything = Heard(), Heard(), Heard()
            for name, heard, taken in (
                ("exact", exact, topics.exact("room:1")),
                ("prefix", prefix, topics.prefix("room:*")),
                ("everything", everything, b""),
            ):
                bus = node(name, **heard.handlers(TRACKER))
                bus.subscribe(taken)
                await subscribed(bus)
            bus.publish_kind(TRACKER, "$presence:x")
            for topic in ("lobby", "room:10", "room:1"):
                say(bus, topic, topic)
            await until(lambda: len(everything.broadcasts) == 3)
            await until(lambda: len(prefix.broadcasts) == 2 and exact.broadcasts)
            assert everything.events == ["lobby", "room:10", "room:1"]
            assert prefix.events == ["room:10", "room:1"]
            assert exact.events == ["room:1"]
            assert everything.messages == [], "topics that start with $ are not everybody's"

        run(scenario)

    def test_subscriptions_are_counted(self, run):
        async def scenario(node):
            heard = Heard()
            bus = node("a", **heard.handlers())
            for each in ("room:1", "room:1", "room:2"):
                bus.subscribe(topics.exact(each))
            bus.unsubscribe(topics.exact("room:1"))
            await subscribed(bus)
            say(bus, "still")
            say(bus, "mark", "room:2")
            await until(lambda: len(heard.broadcasts) == 2)
            bus.unsubscribe(topics.exact("room:1"))
            say(bus, "no longer")
            say(bus, "mark", "room:2")
            await until(lambda: heard.events.count("mark") == 2)
            assert heard.events == ["still", "mark", "mark"]

        run(scenario)

    def test_a_direct_broadcast_reaches_its_node_only(self, run):
        async def scenario(node):
            heard = Heard()
            bus, other = node("a", **heard.handlers()), node("b")
            async with PubSub(bus).subscribe("room:1") as broadcasts:
                PubSub(other).direct_broadcast("b", "room:1", "not for a", {})
                PubSub(other).direct_broadcast("a", "room:1", "for a", b"\x00")
                PubSub(other).broadcast("room:1", "for all", {})
                got = await following(broadcasts, 2)
                assert [each.event for each in got] == ["for a", "for all"]
                assert got[0] == Broadcast("room:1", "for a", b"\x00")
            await until(lambda: heard.events == ["for a", "for all"])

        run(scenario)

    def test_messages_between_nodes_go_to_the_handler_of_their_kind(self, run):
        async def scenario(node):
            heard = Heard()
            bus, other = node("a", **heard.handlers(CALL)), node("b")
            bus.subscribe(topics.exact("$presence:x"))
            await subscribed(bus)
            other.publish_kind(TRACKER, "$presence:x", "ignored")
            number = other.publish_kind(CALL, topics.of_node("a"), "name", BINARY, b"question")
            await until(lambda: heard.messages)
            ((header, data),) = heard.messages
            assert (header.kind, header.origin, header.sequence) == (CALL, "b", number)
            assert (header.event, header.codec, data) == ("name", BINARY, b"question")
            assert heard.broadcasts == []

        run(scenario)

    def test_a_node_receives_what_it_publishes_itself(self, run):
        async def scenario(node):
            heard = Heard()
            bus = node("a", **heard.handlers(ONCE))
            bus.subscribe(topics.exact(topics.ONCE))
            await subscribed(bus)
            bus.publish_kind(ONCE, topics.ONCE, "key")
            await until(lambda: heard.messages)

        run(scenario)

    def test_an_exception_in_a_handler_affects_only_that_message(self, run):
        async def scenario(node):
            came = []

            def handle(topic, header, data):
                came.append(header.event)
                if header.event == "bad":
                    raise ValueError("cannot")

            bus = node("a", broadcast=handle)
            bus.subscribe(topics.exact("room:1"))
            await subscribed(bus)
            for event in ("bad", "good"):
                say(bus, event)
            await until(lambda: came == ["bad", "good"])

        run(scenario)
