"""The application of the rows about histories: topics with and without one, which are otherwise the same.

Run: mesh serve scripts.bench.app:endpoint
"""

from typing import Any

from examples.conformance import BenchChannel
from mesh import Endpoint, History, Mount, SocketHandler, on


class PlainChannel(BenchChannel):
    """Topics without a history."""

    @on("burst")
    def burst(self, payload: Any) -> None:
        """Broadcast the payload's data as often as it says."""
        for _ in range(payload["times"]):
            self.broadcast("new_msg", {"d": payload["d"]})


class KeptChannel(PlainChannel):
    """Topics with a history."""

    history = History(messages=100, seconds=300)


class UserSocket(SocketHandler):
    """Accepts everyone."""

    channels = {"bench:*": PlainChannel, "kept:*": KeptChannel}


endpoint = Endpoint(sockets={"/socket": Mount(UserSocket)})
