"""Presence, embedded and in a cluster: each takes two base URLs."""

import asyncio

from tests.support.presence import View
from tests.support.websocket import PhoenixClient


class Member:
    """A client on one topic and what it knows of who is there."""

    def __init__(self, client, topic):
        self.client, self.topic, self.view, self.pid = client, topic, View(), 0

    @classmethod
    async def join(cls, base, topic, **payload):
        member = cls(await PhoenixClient.connect(base), topic)
        await member.rejoin(**payload)
        return member

    async def rejoin(self, **payload):
        self.view = View()
        status, response = await self.client.join(self.topic, payload)
        assert status == "ok"
        self.pid = response.get("pid", 0)

    async def push(self, event, **payload):
        status, response = await self.client.push(self.topic, event, payload)
        assert status == "ok", response
        return response

    def presences(self):
        return {key: {"metas": metas} for key, metas in self.view.metas.items()}

    async def knows(self, expected, field="n"):
        """Read until this member's view is so; and a ghost would not go away."""
        while self.view.metas is None or self.view.here(field) != expected:
            self.view.take(await self.client.next())

    async def agrees(self, expected):
        """Until its worker says so, and everything it was told comes to the same."""
        while {
            key: [meta["n"] for meta in each["metas"]] for key, each in (await self.listed()).items()
        } != expected:
            await asyncio.sleep(0.01)
        while self.presences() != await self.listed():  # a diff follows its change by some 20 ms
            await asyncio.sleep(0.01)

    async def listed(self):
        listed = await self.push("list")
        for message in self.client.messages:
            self.view.take(message)
        self.client.messages.clear()
        return listed


async def on_both_workers(a, b, topic, **payload):
    """Members until they live on two workers; embedded there is one, for two members."""
    members = []
    least = 1 if a == b else 2
    while len(members) < 2 or len({member.pid for member in members}) < least:
        number = len(members)
        base = (a, b)[number % 2]
        members.append(await Member.join(base, topic, **{"as": f"u{number}", "n": number, **payload}))
        assert number < 300
    return members


async def the_joiner_sees_itself_and_a_diff_as_phoenix_sends_them(a, b):
    client = await PhoenixClient.connect(a)
    ref = client.ref()
    client.say(ref, ref, "here:1", "phx_join", {"as": "ana", "n": 1})
    reply, diff, state = [await client.next() for _ in range(3)]
    assert reply[:4] == [ref, ref, "here:1", "phx_reply"]
    assert diff[:4] == [None, None, "here:1", "presence_diff"]
    assert state[:4] == [ref, None, "here:1", "presence_state"]
    (meta,) = state[4]["ana"]["metas"]
    assert sorted(meta) == ["n", "phx_ref"]
    assert len(meta["phx_ref"]) == 16
    assert state[4] == {"ana": {"metas": [meta]}}
    assert diff[4] == {"joins": {"ana": {"metas": [meta]}}, "leaves": {}}
    client.join_refs["here:1"] = ref
    await client.push("here:1", "untrack", {"key": "ana"})
    diff = await client.event("presence_diff")
    assert diff[4] == {"joins": {}, "leaves": {"ana": {"metas": [meta]}}}


async def everybody_knows_everybody_wherever_they_are(a, b):
    members = await on_both_workers(a, b, "here:2")
    for member in members:
        await member.knows({f"u{number}": [number] for number in range(len(members))})
    left = members.pop()
    left.client.close()
    for member in members:
        await member.knows({f"u{number}": [number] for number in range(len(members))})
        assert await member.push("list") == member.presences()


async def a_user_with_two_sockets_has_two_metas(a, b):
    one = await Member.join(a, "here:3", **{"as": "ana", "n": 1})
    two = await Member.join(b, "here:3", **{"as": "ana", "n": 2})
    for member in (one, two):
        await member.knows({"ana": [1, 2]})
    assert len((await one.push("get", key="ana"))["got"]["metas"]) == 2
    assert (await one.push("get", key="bo"))["got"] is None
    two.client.close()
    await one.knows({"ana": [1]})


async def an_update_is_one_diff_with_the_old_and_the_new_meta(a, b):
    members = await on_both_workers(a, b, "here:4")
    for member in members:
        await member.knows({f"u{number}": [number] for number in range(len(members))})
        member.view.diffs.clear()
    (old,) = members[0].view.metas["u0"]
    ref = (await members[0].push("update", key="u0", by=100))["ref"]
    for member in members:
        await member.knows({"u0": [100]} | {f"u{number}": [number] for number in range(1, len(members))})
        new = {"n": 100, "phx_ref": ref, "phx_ref_prev": old["phx_ref"]}
        (diff,) = [each for each in member.view.diffs if "u0" in each["leaves"]]
        assert diff["leaves"]["u0"] == {"metas": [old]}
        assert new in diff["joins"]["u0"]["metas"], "else the user would go offline for a moment"


async def one_channel_may_track_several_keys_and_all_end_with_it(a, b):
    one, two = await Member.join(a, "here:5", **{"as": "a"}), await Member.join(b, "here:5", **{"as": "b"})
    await one.push("track", key="c", meta={"n": 7})
    await two.knows({"a": [0], "b": [0], "c": [7]})
    await one.push("untrack")
    await two.knows({"b": [0]})
    await one.push("track", key="d", meta={"n": 8})
    await two.knows({"b": [0], "d": [8]})
    one.client.cast(one.topic, "phx_leave")
    await two.knows({"b": [0]})


async def tracking_twice_or_updating_nothing_crashes_the_channel_only(a, b):
    for event, payload in (
        ("track", {"key": "ana", "meta": {}}),
        ("update", {"key": "bo", "by": 1}),
        ("track", {"key": "x", "meta": {"long": "x" * 10_000}}),
        ("track", {"key": "k" * 1_001, "meta": {}}),
    ):
        member = await Member.join(a, "here:6", **{"as": "ana"})
        member.client.cast("here:6", event, payload)
        await member.client.event("phx_error")
        await member.rejoin(**{"as": "ana"})
        await member.knows({"ana": [0]})
        member.client.close()
        other = await Member.join(b, "here:6")
        await other.knows({})


async def an_intercepted_diff_goes_through_handle_out(a, b):
    members = await on_both_workers(a, b, "intercepted:1", **{"as": "ana"})
    other = await Member.join(b, "intercepted:1", **{"as": "bo"})
    for member in (*members, other):
        while True:
            message = await member.client.next()
            assert message[3] != "presence_diff"
            if message[3] == "people_changed" and "bo" in message[4]["joined"]:
                break


async def fetch_adds_to_what_clients_see_and_diffs_stay_in_order(a, b):
    first = await Member.join(a, "fetched:1", **{"as": "ana"})
    others = [await Member.join((a, b)[n % 2], "fetched:1", **{"as": f"u{n}"}) for n in range(5)]
    names = {"ana": ["ana"]} | {f"u{n}": [f"u{n}"] for n in range(5)}
    while sorted(first.view.metas or {}) != sorted(names):
        message = await first.client.next()
        for each in (message[4], message[4].get("joins", {}), message[4].get("leaves", {})):
            for key, presence in each.items():
                if key not in ("joins", "leaves", "status", "response"):
                    assert presence["name"] == key.upper()
        first.view.take(message)
    assert (await first.push("get", key="u1"))["got"]["name"] == "U1"
    assert (await first.push("get", key="nobody"))["got"] is None
    others[0].client.close()
    while "u0" in first.view.metas:
        first.view.take(await first.client.next())

    async def told_of_leave():
        told = (await first.push("told"))["told"]
        return [[], ["u0"], ["ana", "u1", "u2", "u3", "u4"]] in told

    while not await told_of_leave():
        pass


async def a_fetch_that_fails_costs_only_what_it_would_have_added(a, b):
    watcher, caller = await PhoenixClient.connect(a), await PhoenixClient.connect(a)
    await watcher.join("fetched:broken", {"as": "ana", "quiet": True})
    assert sorted((await watcher.event("presence_diff"))[4]["joins"]) == ["ana"]
    await caller.join("fetched:broken", {"as": "bo"})
    await caller.event("phx_error")  # its own `list` raises
    await caller.join("fetched:broken", {"as": "cy", "quiet": True})
    while "cy" not in (await watcher.event("presence_diff"))[4]["joins"]:
        pass


async def a_thousand_joins_are_gathered_into_few_diffs(a, b):
    watcher = await Member.join(a, "here:7")
    crowd = await PhoenixClient.connect(b)
    await crowd.join("here:7")
    for number in range(1_000):
        crowd.cast("here:7", "track", {"key": f"k{number}", "meta": {"n": number}})
    await watcher.knows({f"k{number}": [number] for number in range(1_000)})
    assert len(watcher.view.diffs) < 500


SCENARIOS = [
    the_joiner_sees_itself_and_a_diff_as_phoenix_sends_them,
    everybody_knows_everybody_wherever_they_are,
    a_user_with_two_sockets_has_two_metas,
    an_update_is_one_diff_with_the_old_and_the_new_meta,
    one_channel_may_track_several_keys_and_all_end_with_it,
    tracking_twice_or_updating_nothing_crashes_the_channel_only,
    an_intercepted_diff_goes_through_handle_out,
    fetch_adds_to_what_clients_see_and_diffs_stay_in_order,
    a_fetch_that_fails_costs_only_what_it_would_have_added,
    a_thousand_joins_are_gathered_into_few_diffs,
]
