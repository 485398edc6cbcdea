"""No user sees another's context variables in a cluster either, whose nodes are shared as well."""

from tests.support.processes import cluster
from tests.support.websocket import PhoenixClient, run

USERS = [f"user{number}" for number in range(8)]


def test_users_of_one_worker_do_not_see_each_others_variables(tmp_path):
    async def scenario(urls):
        for number, user in enumerate(USERS):
            client = await PhoenixClient.connect(urls[number % len(urls)], f"user={user}-socket")
            joined = await client.join(f"room:{user}", {"user": user})
            assert joined == ("ok", {"before": None, "init": None, "started": "at import"})
            assert (await client.push(f"room:{user}", "slow", {"seconds": 0.001}))[1]["user"] == user
            _, said = await client.push(f"room:{user}", "who")
            assert said["user"] == user
            assert said["connect"] == {
                "init": None, "before": None, "started": "at import", "id": f"{user}-socket",
            }  # fmt: skip

    env = {"MESH_SECURITY__SECRET_KEY": "x" * 64}
    app = "tests.support.contexts_app:endpoint"
    with cluster(tmp_path, app, gateways=1, workers=1, env=env) as running:
        run(scenario(running.urls))
