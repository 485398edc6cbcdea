"""A worker's end of the link from one gateway, from its Hello on."""

from mesh.link.batches import Batches
from mesh.link.phases import TABLE, Phase
from mesh.phases import Phases


class GatewayLink:
    """One link, as the router keeps it.

    Attributes:
        gateway: id of the gateway.
        version: of the link protocol that both speak.
        heard_at: when the last message came, in event-loop time.
        up_since: when Hello came.
        batches: what is sent on it.
        phases: how far it is.
    """

    __slots__ = ("batches", "gateway", "heard_at", "phases", "up_since", "version")

    def __init__(self, gateway: str, version: int, now: float, batches: Batches) -> None:
        self.gateway = gateway
        self.version = version
        self.heard_at = self.up_since = now
        self.batches = batches
        self.phases = Phases(TABLE, Phase.GREETING)
