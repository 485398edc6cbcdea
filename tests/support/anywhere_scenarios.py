"""What must hold for the verbs of an endpoint, embedded and in a cluster; `a` and `b` are gateways."""

from tests.support.websocket import PhoenixClient


async def member(url, topic):
    client = await PhoenixClient.connect(url)
    await client.join(topic)
    return client


async def places(clients, topic):
    """{node id: [client]}: on which worker each client's channel is."""
    found = {}
    for client in clients:
        _, where = await client.push(topic, "where")
        found.setdefault(where["node"], []).append(client)
    return found


async def broadcast_from_skips_the_channel_named_and_nobody_else(a, b):
    one, two, three = [await member(url, "room:from") for url in (a, a, b)]
    await one.push("room:from", "tell_others", {"topic": "room:from", "n": 1})
    for client in (two, three):
        assert (await client.next())[3:] == ["told", {"topic": "room:from", "n": 1}]
    await one.silent()
    await one.push("room:from", "tell_all", {"topic": "room:from", "n": 2})
    for client in (one, two, three):
        assert (await client.next())[3:] == ["told", {"topic": "room:from", "n": 2}]


async def broadcast_from_skips_the_channels_own_subscription(a, b):
    one, two = await member(a, "room:x"), await member(b, "room:x")
    for client in (one, two):
        await client.push("room:x", "subscribe", {"topic": "elsewhere"})
    await one.push("room:x", "tell_others", {"topic": "elsewhere", "n": 1})
    info = (await two.event("info"))[4]
    assert info["payload"]["n"] == 1
    await one.push("room:x", "tell_all", {"topic": "elsewhere", "n": 2})
    for client in (one, two):
        assert (await client.event("info"))[4]["payload"]["n"] == 2


async def a_direct_broadcast_to_a_worker_reaches_what_subscribed_there(a, b):
    clients = [await member(url, "room:here") for url in (a, b, a, b, a, b)]
    for client in clients:
        await client.push("room:here", "subscribe", {"topic": "elsewhere"})
    by_node = await places(clients, "room:here")
    for node, there in by_node.items():
        told = {"node": node, "topic": "elsewhere", "event": "e"}
        await clients[0].push("room:here", "tell_node", told)
        for client in there:
            assert (await client.event("info"))[4] == {"topic": "elsewhere", "event": "e", "payload": told}
        told = {"node": node, "topic": "room:here", "event": "intercepted"}
        await clients[0].push("room:here", "tell_node", told)
        for client in there:
            assert (await client.event("out"))[4] == told
        for client in clients:
            await client.silent()


async def until_all_answer(asker, watcher, topic, answer, workers):
    """Ask until every worker's background task has answered: they start when their worker is up."""
    answers = {}
    while len(answers) < workers:
        await asker.push("room:asker", "tell_all", {"topic": topic, "n": -1})
        answered = (await watcher.event(answer))[4]
        answers[answered["pid"]] = answered
    return answers


async def background_tasks_hear_every_topic_of_their_pattern(a, b, workers=1):
    asker, watcher = await member(a, "room:asker"), await member(b, "room:answers")
    answers = {pid: [] for pid in await until_all_answer(asker, watcher, "ask:who", "answer", workers)}
    for number in range(20):
        await asker.push("room:asker", "tell_all", {"topic": f"ask:{number}", "n": number})
    while sum(len(each) for each in answers.values()) < 20 * workers:
        answer = (await watcher.event("answer"))[4]
        number = answer["asked"]["n"]
        if number >= 0:
            assert answer["topic"] == f"ask:{number}"
            answers[answer["pid"]].append(number)
    assert list(answers.values()) == [list(range(20))] * workers


async def a_background_task_that_raises_is_started_again(a, b, workers=1):
    asker, watcher = await member(a, "room:asker"), await member(b, "room:fragile")
    before = await until_all_answer(asker, watcher, "fragile:1", "alive", workers)
    await asker.push("room:asker", "tell_all", {"topic": "fragile:1", "break": True})
    started = {}
    while len(started) < workers:
        each = (await watcher.event("started"))[4]
        started[each["pid"]] = each["starts"]
    assert started == {pid: each["starts"] + 1 for pid, each in before.items()}
    await until_all_answer(asker, watcher, "fragile:1", "alive", workers)


SCENARIOS = [
    broadcast_from_skips_the_channel_named_and_nobody_else,
    broadcast_from_skips_the_channels_own_subscription,
    a_direct_broadcast_to_a_worker_reaches_what_subscribed_there,
]
OF_WORKERS = [
    background_tasks_hear_every_topic_of_their_pattern,
    a_background_task_that_raises_is_started_again,
]
"""With the number of workers as their third argument."""
