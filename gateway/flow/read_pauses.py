"""Which clients are not read from now, and why: pending joins, a full mailbox, a worker that is behind.

Reasons nest: a client is read from again when the last one is gone.
"""

from gateway.client import Client
from mesh.telemetry import counters

Reason = tuple[str, int | str]
"""What kind it is, and which one: ("join", 0), ("channel", its number), ("link", the worker's id)."""

JOIN: Reason = ("join", 0)
KINDS = ("join", "channel", "link")


class ReadPauses:
    """Pauses and resumes the transports of clients."""

    def __init__(self) -> None:
        self._reasons: dict[Client, set[Reason]] = {}

    def pause(self, client: Client, reason: Reason) -> None:
        """Read no more from a client until this reason, too, is gone."""
        reasons = self._reasons.get(client)
        if reasons is None:
            reasons = self._reasons[client] = set()
            counters.count("readers_paused")
            client.transport.pause()
        reasons.add(reason)

    def resume(self, client: Client, reason: Reason) -> None:
        """A reason is gone; nothing happens if it was none."""
        reasons = self._reasons.get(client)
        if reasons is None or reason not in reasons:
            return
        reasons.discard(reason)
        if not reasons:
            del self._reasons[client]
            client.transport.resume()

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self._reasons.pop(client, None)

    def resume_all(self, reason: Reason) -> None:
        """A reason is gone for every client that has it."""
        for client in [each for each, reasons in self._reasons.items() if reason in reasons]:
            self.resume(client, reason)

    def counts(self) -> dict[str, float]:
        """Clients by kind of reason."""
        counts: dict[str, float] = dict.fromkeys(KINDS, 0)
        for reasons in self._reasons.values():
            for kind in {reason[0] for reason in reasons}:
                counts[kind] += 1
        return counts
