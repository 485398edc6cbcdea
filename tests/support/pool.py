"""Clusters and embedded servers that tests share: started when the first test asks, stopped at the end of the run."""

import contextlib

from tests.support.processes import ORDER, cluster, serve
from tests.support.proxy import free_address

CONFORMANCE = "examples.conformance:endpoint"
APPS = "tests.support.apps:endpoint"
ANY_PORT = {"MESH_ZEROMQ__BIND": "tcp://127.0.0.1:*"}
"""A gateway with this also listens to ZeroMQ clients; `Cluster.address` tells the port."""
COMMON = {
    **ANY_PORT,
    "MESH_BUS__ANNOUNCE_SECONDS": "0.3",  # some commands listen for a second and a half
    "MESH_LONGPOLL__WINDOW_SECONDS": "4",
    "MESH_LONGPOLL__RELAY_TIMEOUT_SECONDS": "2",
}
"""Of the cluster with the conformance application that most files share."""
TWO_PROXIES = {
    **ANY_PORT,
    "MESH_LONGPOLL__WINDOW_SECONDS": "20",  # a proxy of a busy machine may take as long to start
    "MESH_LONGPOLL__RELAY_TIMEOUT_SECONDS": "20",
}


class Pool:
    """Open contexts by key; beyond `limit`, the one that was asked for least recently is closed."""

    def __init__(self, limit):
        self._limit = limit
        self._open = {}

    def get(self, key, make):
        """The value of the open context of this key; if there is none, of what `make()` returns."""
        if key in self._open:
            stack, value = self._open.pop(key)
        else:
            while len(self._open) >= self._limit:
                self._close(next(iter(self._open)))
            stack = contextlib.ExitStack()
            value = stack.enter_context(make())
        self._open[key] = stack, value
        return value

    def _close(self, key):
        stack, _ = self._open.pop(key)
        stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """Close all, also if one of them raises."""
        with contextlib.ExitStack() as all_of_them:
            for stack, _ in self._open.values():
                all_of_them.push(stack)
            self._open.clear()


class Clusters(Pool):
    """`clusters(app, **env)` gives a cluster in which every node works, whatever the last test did to it.

    Tests with the same arguments get the same cluster. It has operators' ports, which `wait_until_ready` needs.
    """

    def __init__(self, tmp_path_factory):
        super().__init__(limit=3)  # as many as one test file uses: every idle process costs CPU time
        self._directories = tmp_path_factory
        self._address = free_address()

    def __call__(self, app, gateways=2, workers=2, proxies=1, **env):
        def make():
            directory = self._directories.mktemp("cluster")
            return cluster(directory, app, gateways, workers, proxies, {"MESH_ADMIN__PORT": "0", **env})

        found = self.get((app, gateways, workers, proxies, *sorted(env.items())), make)
        found.restore()
        return found

    def conformance(self):
        """Two gateways, two workers and a proxy with the conformance application."""
        return self(CONFORMANCE, **COMMON)

    def apps(self):
        """As `conformance`, with tests.support.apps."""
        return self(APPS, **ORDER)

    def one_gateway(self):
        """A gateway that comes back at the same address for ZeroMQ clients, two workers and a proxy.

        Returns the cluster and that address.
        """
        env = {"MESH_ZEROMQ__BIND": self._address, "MESH_GATEWAY__WORKER_WAIT_SECONDS": "240", **ORDER}
        return self(CONFORMANCE, gateways=1, **env), self._address

    def two_proxies(self):
        """Two nodes of each kind."""
        return self(CONFORMANCE, proxies=2, **TWO_PROXIES)


class Servers(Pool):
    """`servers(app, **env)` gives (process, url) of an embedded server that also listens to ZeroMQ clients."""

    def __init__(self, tmp_path_factory):
        super().__init__(limit=8)
        self._directories = tmp_path_factory

    def __call__(self, app, **env):
        def make():
            return serve(self._directories.mktemp("serve"), app, env={**ANY_PORT, **env})

        return self.get((app, *sorted(env.items())), make)


def zeromq(process):
    """Where an embedded server listens to ZeroMQ clients."""
    return process.wait_for(r"zeromq\s+(\S+)")[1]
