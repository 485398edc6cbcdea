"""Pauses reading from clients because of pending joins, a full mailbox or a worker that is behind.

A client may be paused for several reasons; reading resumes when the last one is gone.
"""

from mesh.gateway.client import Client
from mesh.telemetry import counters

Reason = tuple[str, int | str]
"""(kind, which one): ("join", 0), ("channel", the channel's number), ("link", the worker's id)."""

JOIN: Reason = ("join", 0)
KINDS = ("join", "channel", "link")


class ReadPauses:
    """Pauses and resumes the transports of clients."""

    def __init__(self) -> None:
        self._reasons: dict[Client, set[Reason]] = {}

    def pause(self, client: Client, reason: Reason) -> None:
        """Stop reading from a client until this reason and all others are gone."""
        reasons = self._reasons.get(client)
        if reasons is None:
            reasons = self._reasons[client] = set()
            counters.count("readers_paused")
            client.transport.pause()
        reasons.add(reason)

    def resume(self, client: Client, reason: Reason) -> None:
        """Remove a reason; no effect if the client is not paused for it."""
        reasons = self._reasons.get(client)
        if reasons is None or reason not in reasons:
            return
        reasons.discard(reason)
        if not reasons:
            del self._reasons[client]
            client.transport.resume()

    def forget(self, client: Client) -> None:
        """Forget a client that is gone."""
        self._reasons.pop(client, None)

    def resume_all(self, reason: Reason) -> None:
        """Remove a reason from every client that is paused for it."""
        for client in [each for each, reasons in self._reasons.items() if reason in reasons]:
            self.resume(client, reason)

    def counts(self) -> dict[str, float]:
        """Count the paused clients by kind of reason."""
        counts: dict[str, float] = dict.fromkeys(KINDS, 0)
        for reasons in self._reasons.values():
            for kind in {reason[0] for reason in reasons}:
                counts[kind] += 1
        return counts
