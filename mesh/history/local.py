"""The histories of all topics, for the application in a worker: `self.history` and `endpoint.history`."""

from mesh.app.history import KeptBroadcast, KeptTopics
from mesh.errors import ChannelError, HistoryUnavailableError
from mesh.history import listing
from mesh.history.recorder import Recorder


class LocalHistories:
    """Asks the recorder of this worker. Implements mesh.app.pubsub.Histories.

    Args:
        recorder: answers, or asks another worker.
        kept: the topics that have a history.
    """

    def __init__(self, recorder: Recorder, kept: KeptTopics) -> None:
        self._recorder = recorder
        self._kept = kept

    async def list(self, topic: str, limit: int, before: int | None) -> list[KeptBroadcast]:
        """Return the newest kept broadcasts of a topic, the oldest of them first."""
        self._require(topic)
        page = await self._recorder.read(listing.newest(topic, limit, before))
        if not page.epoch:
            raise unavailable(topic)
        return listing.decoded(topic, page)

    async def forget(self, topic: str) -> None:
        """Remove the history of a topic."""
        self._require(topic)
        if not (await self._recorder.forget(topic)).epoch:
            raise unavailable(topic)

    def _require(self, topic: str) -> None:
        if self._kept.find(topic) is None:
            raise ChannelError(f"topic {topic!r} has no history: its Channel class has `history = None`")


def unavailable(topic: str) -> HistoryUnavailableError:
    """Return the error for a history that cannot be read in time."""
    return HistoryUnavailableError(f"the history of {topic!r} is not available: try again later")
