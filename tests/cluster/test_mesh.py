"""Two gateways, two workers, one proxy: the same as embedded, and nothing lost between them."""

import pytest

from tests.support.http import broadcast
from tests.support.scenarios import SCENARIOS
from tests.support.websocket import PhoenixClient, run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_cluster(apps, scenario):
    run(scenario(*apps.urls))


def test_two_thousand_joins_to_fresh_topics_miss_no_broadcast_that_follows(conformance):
    async def scenario():
        a, b = conformance.urls
        for batch in range(25):
            one, two = await PhoenixClient.connect(a), await PhoenixClient.connect(b)
            for number in range(80):
                topic = f"room:fresh:{batch}:{number}"
                assert (await two.join(topic))[0] == "ok"
                assert (await one.join(topic))[0] == "ok"
                two.cast(topic, "new_msg", {"n": number})
                assert await one.next() == [None, None, topic, "new_msg", {"n": number}]
                assert await two.next() == [None, None, topic, "new_msg", {"n": number}]
            one.close()
            two.close()

    run(scenario())


def test_intercepted_broadcasts_reach_every_member_through_its_own_handle_out(conformance):
    async def scenario():
        clients = [
            await PhoenixClient.connect(url, f"user_id={number}")
            for number, url in enumerate(conformance.urls * 3)
        ]
        for client in clients:
            await client.join("room:intercept")
        clients[0].cast("room:intercept", "intercept_me", {"k": 1})
        for number, client in enumerate(clients):
            _, _, _, event, payload = await client.next()
            assert (event, payload) == ("intercept_me", {"k": 1, "to": str(number)})
            await client.silent()

    run(scenario())


def test_broadcast_from_skips_the_sender_only(conformance):
    async def scenario():
        a, b = conformance.urls
        sender, near, far = [await PhoenixClient.connect(url) for url in (a, a, b)]
        for client in (sender, near, far):
            await client.join("room:from")
        for number in range(20):
            sender.cast("room:from", "from", {"n": number})
            for client in (near, far):
                assert (await client.next())[3:] == ["from", {"n": number}]
        await sender.silent()

    run(scenario())


def test_a_disconnect_reaches_a_user_on_every_gateway_at_once_after_connecting(conformance):
    async def scenario():
        a, b = conformance.urls
        for number in range(50):
            clients = [await PhoenixClient.connect(url, f"user_id=u{number}") for url in (a, b)]
            broadcast(a, f"users:u{number}", "disconnect", {})
            for client in clients:
                assert await client.socket.recv_close() == 1001

    run(scenario())


def test_gateways_share_a_port_and_have_their_own(conformance):
    async def scenario():
        status = conformance.status
        for url in [status["url"], *conformance.urls]:
            client = await PhoenixClient.connect(url)
            assert (await client.join("room:port"))[0] == "ok"

    run(scenario())


def test_a_local_broadcast_reaches_the_members_that_this_worker_serves(apps):
    async def scenario():
        members = {}
        while len(members) < 2 or min(map(len, members.values())) < 2:
            client = await PhoenixClient.connect(apps.urls[len(members) % 2])
            await client.join("watch:local")
            pid = (await client.push("watch:local", "locally", {"from": "join"}))[1]["pid"]
            members.setdefault(pid, []).append(client)
        one, other = members.values()
        await one[0].push("watch:local", "locally", {"from": "one"})
        for client in one:
            while (await client.event("local"))[4] != {"from": "one"}:
                pass
        for client in other:
            client.cast("watch:local", "locally", {"from": "end"})
            while (payload := (await client.event("local"))[4]) != {"from": "end"}:
                assert payload == {"from": "join"}

    run(scenario())
