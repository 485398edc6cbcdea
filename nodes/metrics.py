"""What a node exports to Prometheus, read when it is asked for: nothing is counted twice or kept here."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mesh.telemetry import COUNTERS, counters, stats
from mesh.telemetry.counters import Histogram

TOTALS: Mapping[str, str] = {
    "connections": "clients accepted by this gateway",
    "messages_in": "messages of clients, heartbeats included",
    "deliveries": "broadcasts put into clients' outboxes",
    "pushes": "events handled by channels",
    "replies": "replies sent by channels",
    "channel_pushes": "pushes sent by channels",
    "broadcasts": "broadcasts published by this node",
}
"""Attributes of `stats` that are exported as mesh_<name>_total."""

GAUGES: Mapping[str, str] = {
    "open_connections": "clients connected now, by transport",
    "open_channels": "channels joined or joining now",
    "topics": "topics with members on this node",
    "unsent_bytes": "what waits for clients that read too slowly, all together",
    "mailbox_messages": "messages that wait for channels, all together",
    "links": "links to workers (in a gateway) or of gateways (in a worker) that are up",
    "bus_connected": "whether the proxy has this node's publisher: 1 or 0",
    "bus_backlog_messages": "broadcasts kept while the proxy is away",
    "loop_lag_seconds": "how late the event loop was at the last probe",
    "ready": "whether /readyz says 200: 1 or 0",
}
"""What a node's `gauges` may say, exported as mesh_<name>."""

HISTOGRAMS: Mapping[str, str] = {
    "join_seconds": "from a join's arrival in the worker to its answer",
    "handle_in_seconds": "of the handler of a client's event",
}

Gauges = Mapping[str, float | Mapping[str, float]]
"""name → value, or transport → value."""


class NodeCollector(Collector):
    """Reads a node's counts. `gauges` is asked at each scrape."""

    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Every metric."""
        for name, meaning in TOTALS.items():
            yield CounterMetricFamily(f"mesh_{name}", meaning, value=getattr(stats, name))
        joins = CounterMetricFamily(
            "mesh_joins", "joins answered by this worker, by result", labels=["result"]
        )
        joins.add_metric(["ok"], stats.joins_ok)
        joins.add_metric(["error"], stats.joins_refused)
        yield joins
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(f"mesh_{name}", meaning, value=counters.value(name))
        for name, meaning in HISTOGRAMS.items():
            yield _histogram(f"mesh_{name}", meaning, getattr(stats, name))
        for name, value in self._gauges().items():
            yield _gauge(f"mesh_{name}", GAUGES[name], value)


def registry(gauges: Callable[[], Gauges]) -> CollectorRegistry:
    """A registry of one node."""
    made = CollectorRegistry()
    made.register(NodeCollector(gauges))
    return made


def _gauge(name: str, meaning: str, value: float | Mapping[str, float]) -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(name, meaning, value=value)
    family = GaugeMetricFamily(name, meaning, labels=["transport"])
    for transport, number in value.items():
        family.add_metric([transport], number)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    buckets, total = [], 0
    for bound, number in zip((*map(str, histogram.BOUNDS), "+Inf"), histogram.buckets, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=histogram.sum)
