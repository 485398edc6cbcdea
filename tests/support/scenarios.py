"""What must hold embedded and in a cluster alike: run against tests.support.apps.

Each takes two base URLs: the same twice when embedded, two gateways in a cluster.
"""

import asyncio

from tests.support.websocket import PhoenixClient


async def pair(a, b, topic):
    one, two = await PhoenixClient.connect(a), await PhoenixClient.connect(b)
    assert (await one.join(topic))[0] == "ok"
    assert (await two.join(topic))[0] == "ok"
    return one, two


async def a_broadcast_comes_before_the_reply_that_follows_it(a, b):
    one, two = await pair(a, b, "order:1")
    for number in range(100):
        for event in ("both", "both_async"):
            ref = one.cast("order:1", event, {"n": number})
            assert await one.next() == [None, None, "order:1", "first", {"n": number}]
            reply = await one.next()
            assert (reply[1], reply[3]) == (ref, "phx_reply")
            assert await two.next() == [None, None, "order:1", "first", {"n": number}]


async def broadcasts_pushes_and_the_reply_of_one_callback_keep_their_order(a, b):
    one, two = await pair(a, b, "order:2")
    for number in range(50):
        one.cast("order:2", "push_between", {"n": number})
        assert [(await one.next())[3] for _ in range(4)] == ["one", "two", "three", "phx_reply"]
        assert [(await two.next())[3] for _ in range(2)] == ["one", "three"]


async def a_broadcast_comes_before_the_end_that_follows_it(a, b):
    one, _ = await pair(a, b, "order:3")
    one.cast("order:3", "then_stop", {})
    assert [(await one.next())[3] for _ in range(3)] == ["first", "phx_reply", "phx_close"]
    await one.join("order:3")
    one.cast("order:3", "then_crash", {})
    assert [(await one.next())[3] for _ in range(2)] == ["first", "phx_error"]


async def what_happens_around_a_join_keeps_its_order(a, b):
    other = await PhoenixClient.connect(b)
    await other.join("after:1")
    for _ in range(2):
        assert (await other.next())[3] in ("pushed_after_join", "broadcast_after_join")
    for number in range(30):
        client = await PhoenixClient.connect(a)
        ref = client.ref()
        client.say(ref, ref, "after:1", "phx_join", {"n": number})
        seen = [await client.next() for _ in range(3)]
        assert [each[3] for each in seen] == ["phx_reply", "pushed_after_join", "broadcast_after_join"]
        await client.silent()  # what join itself broadcast is not for the one who joins
        assert [(await other.next())[3] for _ in range(2)] == ["from_join", "broadcast_after_join"]
        client.close()


async def a_slow_join_stops_neither_the_heartbeat_nor_other_topics(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("order:4")
    join = client.ref()
    client.say(join, join, "slow:1", "phx_join", {"seconds": 2})
    waiting = client.ref()
    client.say(join, waiting, "slow:1", "echo", {"early": True})
    await client.silent()
    assert (await client.push("order:4", "both", {}))[0] == "ok"
    await client.event("first")
    first, second = await client.next(), await client.next()
    assert (first[1], first[4]["status"]) == (join, "ok")
    assert (second[1], second[4]) == (waiting, {"status": "ok", "response": {"early": True}})


async def what_follows_a_slow_join_that_is_refused_is_unmatched(a, b):
    client = await PhoenixClient.connect(a)
    join, push, leave = client.ref(), client.ref(), client.ref()
    client.say(join, join, "slow:2", "phx_join", {"seconds": 0.1, "refuse": True})
    client.say(join, push, "slow:2", "echo", {})
    client.say(join, leave, "slow:2", "phx_leave", {})
    assert (await client.next())[4] == {"status": "error", "response": {"reason": "no"}}
    assert (await client.next())[4] == {"status": "error", "response": {"reason": "unmatched topic"}}
    assert (await client.next())[:2] == [join, leave]


async def join_time_out_leave_and_join_again_ends_with_the_last(a, b):
    client = await PhoenixClient.connect(a)
    client.say("1", "1", "slow:3", "phx_join", {"seconds": 2})
    client.say("1", "2", "slow:3", "phx_leave", {})
    client.say("3", "3", "slow:3", "phx_join", {})
    seen = [await client.next() for _ in range(4)]
    assert [(each[0], each[1], each[3]) for each in seen] == [
        ("1", "1", "phx_reply"),
        ("1", "2", "phx_reply"),
        ("3", "3", "phx_reply"),
        ("1", "1", "phx_close"),
    ]
    client.join_refs["slow:3"] = "3"
    assert (await client.push("slow:3", "echo", {"a": 1})) == ("ok", {"a": 1})


async def callbacks_of_one_channel_run_one_at_a_time_and_those_of_others_meanwhile(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("slow:4")
    await client.join("slow:5")
    slow = client.cast("slow:4", "slow", {"seconds": 2})
    behind = client.cast("slow:4", "echo", {})
    beside = client.cast("slow:5", "echo", {})
    assert [(await client.next())[1] for _ in range(3)] == [beside, slow, behind]


async def a_duplicate_join_does_not_wait_for_a_slow_callback(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("slow:6")
    client.cast("slow:6", "slow", {"seconds": 300})
    assert (await client.join("slow:6"))[0] == "ok"
    assert (await client.push("slow:6", "echo", {"a": 1})) == ("ok", {"a": 1})


async def a_channel_sends_itself_messages_and_replies_later(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("info:1")
    client.cast("info:1", "remind", {"n": 1})
    assert (await client.next())[3:] == ["reminder", {"n": 1}]
    client.cast("info:1", "remind", {"delay": 0.01})
    assert (await client.next())[3:] == ["reminder", {"delay": 0.01}]
    assert await client.push("info:1", "later", {"n": 2}) == ("ok", {"n": 2})
    assert await client.push("info:1", "status", {"status": "teapot"}) == ("teapot", {"n": 1})
    assert await client.push("info:1", "other", {}) == ("ok", {"caught": "other"})


async def a_channel_hears_other_topics_it_subscribed_to(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("info:2")
    await client.push("info:2", "subscribe", {"topic": "order:5"})
    other = await PhoenixClient.connect(b)
    await other.join("order:5")
    await other.push("order:5", "both", {"n": 1})
    assert (await client.next())[3:] == [
        "info",
        {"topic": "order:5", "event": "first", "payload": {"n": 1}},
    ]
    await client.push("info:2", "unsubscribe", {"topic": "order:5"})
    await other.push("order:5", "both", {"n": 2})
    await client.silent()


async def assigns_are_copied_into_each_channel(a, b):
    client = await PhoenixClient.connect(a, "user=ana&deep[a]=1", {"X-Trace": "t"})
    await client.join("info:3")
    await client.join("info:4")
    _, assigns = await client.push("info:3", "assign", {"mine": 1})
    expected = {
        "default": 1,
        "route": "info",
        "params": {"user": "ana", "deep": {"a": "1"}},
        "x": {"x-trace": "t"},
    }
    assert assigns == {**expected, "mine": 1}
    assert await client.push("info:4", "assign", {}) == ("ok", expected)


async def terminate_says_why(a, b):
    watcher = await PhoenixClient.connect(b)
    await watcher.join("watch:ends")

    async def ends(topic):
        while True:
            _, _, _, event, payload = await watcher.next()
            if event == "ended" and payload["topic"] == topic:
                return payload["reason"]

    client = await PhoenixClient.connect(a)
    for number, (event, payload, reason, answer) in enumerate(
        [
            ("phx_leave", {}, "left", "phx_close"),
            ("stop", {"reason": "normal"}, "normal", "phx_close"),
            ("stop", {"reason": "shutdown"}, "shutdown", "phx_close"),
            ("stop", {"reason": "on fire"}, "on fire", "phx_error"),
            ("nobody_handles", {}, "InfoChannel has no handler for event 'nobody_handles'", "phx_error"),
            ("wrong", {}, None, "phx_error"),
            ("bad_push", {}, None, "phx_error"),
        ]
    ):
        topic = f"info:end{number}"
        await client.join(topic)
        client.cast(topic, event, payload)
        assert (await client.event(answer))[2] == topic
        said = await ends(topic)
        assert reason is None or said == reason
    await client.join("info:dup")
    await client.join("info:dup")
    assert await ends("info:dup") == "duplicate_join"
    client.close()
    assert await ends("info:dup") == "closed"


async def a_join_that_returns_nonsense_has_crashed(a, b):
    client = await PhoenixClient.connect(a)
    for payload in ({"wrong": True}, {"push": True}):
        assert await client.join("after:bad", payload) == ("error", {"reason": "join crashed"})


async def an_event_that_cannot_be_sent_crashes_the_channel_that_made_it_only(a, b):
    client = await PhoenixClient.connect(a)
    other = await PhoenixClient.connect(a)
    await other.join("order:names")
    for what in ("number", "object", "surrogate"):
        for verb in ("push", "broadcast", "broadcast_from"):
            await client.join("info:names")
            client.cast("info:names", "bad_event", {"what": what, "verb": verb})
            assert (await client.next())[3] == "phx_error"
            assert await other.push("order:names", "both", {"n": 1}) == ("ok", {"n": 1})
            assert (await other.next())[3] == "first"


async def handle_out_decides_what_each_member_gets(a, b):
    one, two = await PhoenixClient.connect(a), await PhoenixClient.connect(b)
    await one.join("out:1", {"name": "ana"})
    await two.join("out:1", {"name": "bo"})
    await one.push("out:1", "tell", {"for": "bo"})
    assert (await two.next())[3:] == ["secret", {"for": "bo", "seen_by": "bo"}]
    await one.silent()
    await two.push("out:1", "tell", {"for": "stop"})
    for client in (one, two):
        assert (await client.next())[3] == "phx_close"


async def an_intercepted_broadcast_follows_the_reply_of_its_callback(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("out:2", {"name": "ana"})
    for _ in range(50):
        client.cast("out:2", "tell", {"for": "ana"})
        assert [(await client.next())[3] for _ in range(2)] == ["phx_reply", "secret"]


async def five_thousand_messages_arrive_once_and_in_order(a, b):
    one, two = await pair(a, b, "order:6")
    count = 5000

    async def send():
        for number in range(count):
            one.cast("order:6", "both", {"n": number})
            if number % 100 == 0:
                await one.socket.writer.drain()

    async def receive():
        return [(await two.event("first"))[4]["n"] for _ in range(count)]

    async def own():
        broadcasts = replies = 0
        while replies < count:
            _, _, _, event, payload = await one.next()
            if event == "first":
                assert payload == {"n": broadcasts}
                broadcasts += 1
            else:
                assert payload["response"] == {"n": replies}
                replies += 1
                assert replies <= broadcasts

    _, received, _ = await asyncio.gather(send(), receive(), own())
    assert received == list(range(count))


async def a_slow_push_flood_waits_in_the_mailbox_and_is_answered_in_order(a, b):
    client = await PhoenixClient.connect(a)
    await client.join("slow:7")
    refs = [client.cast("slow:7", "slow", {"seconds": 0})]
    refs += [client.cast("slow:7", "echo", {}) for _ in range(500)]
    assert [(await client.next())[1] for _ in refs] == refs


SCENARIOS = [
    a_broadcast_comes_before_the_reply_that_follows_it,
    broadcasts_pushes_and_the_reply_of_one_callback_keep_their_order,
    a_broadcast_comes_before_the_end_that_follows_it,
    what_happens_around_a_join_keeps_its_order,
    a_slow_join_stops_neither_the_heartbeat_nor_other_topics,
    what_follows_a_slow_join_that_is_refused_is_unmatched,
    join_time_out_leave_and_join_again_ends_with_the_last,
    callbacks_of_one_channel_run_one_at_a_time_and_those_of_others_meanwhile,
    a_duplicate_join_does_not_wait_for_a_slow_callback,
    a_channel_sends_itself_messages_and_replies_later,
    a_channel_hears_other_topics_it_subscribed_to,
    assigns_are_copied_into_each_channel,
    terminate_says_why,
    a_join_that_returns_nonsense_has_crashed,
    an_event_that_cannot_be_sent_crashes_the_channel_that_made_it_only,
    handle_out_decides_what_each_member_gets,
    an_intercepted_broadcast_follows_the_reply_of_its_callback,
    five_thousand_messages_arrive_once_and_in_order,
    a_slow_push_flood_waits_in_the_mailbox_and_is_answered_in_order,
]
