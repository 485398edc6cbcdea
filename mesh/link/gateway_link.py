"""The worker's state of the link from one gateway, after its Hello."""

from mesh.link.batches import Batches
from mesh.link.phases import TABLE, Phase
from mesh.phases import Phases


class GatewayLink:
    """One link, as the router keeps it.

    Attributes:
        gateway: the id of the gateway.
        version: the common version of the link protocol.
        last_heard: when the last message was received, in event-loop time.
        up_since: when Hello was received.
        batches: the commands to be sent on the link.
        phases: the phase of the link.
    """

    __slots__ = ("batches", "gateway", "last_heard", "phases", "up_since", "version")

    def __init__(self, gateway: str, version: int, now: float, batches: Batches) -> None:
        self.gateway = gateway
        self.version = version
        self.last_heard = self.up_since = now
        self.batches = batches
        self.phases = Phases(TABLE, Phase.GREETING)
