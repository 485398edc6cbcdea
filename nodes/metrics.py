"""The metrics that a node exports to Prometheus, read at each scrape; no counts are kept here."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mesh.gateway.fanout.delivery_stats import DROPPED, FILTERED, DeliveryStats
from mesh.telemetry import COUNTERS, counters, stats
from mesh.telemetry.counters import Histogram

TOTALS: Mapping[str, str] = {
    "connections": "clients accepted by this gateway",
    "messages_in": "messages received from clients, heartbeats included",
    "deliveries": "broadcasts put into clients' outboxes",
    "pushes": "events handled by channels",
    "replies": "replies sent by channels",
    "channel_pushes": "pushes sent by channels",
    "broadcasts": "broadcasts published by this node",
    "loop_stalls": "turns of the event loop that callbacks blocked for more than 20 ms",
    "bus_received": "broadcasts received from the bus, without duplicates",
    "broadcasts_unneeded": "broadcasts received from the bus for topics without members here",
}
"""Attributes of `stats` that are exported as mesh_<name>_total."""

GAUGES: Mapping[str, str] = {
    "open_connections": "clients connected now, by transport",
    "open_channels": "channels joined or joining now",
    "topics": "topics with members on this node",
    "unsent_bytes": "bytes queued for clients that read too slowly, in total",
    "mailbox_messages": "messages queued for channels, in total",
    "mailbox_bytes": "bytes of pushes and broadcasts queued for channels, in total",
    "topics_held": "topics whose pushes wait in this worker because a gateway has a slow client",
    "readers_paused": "clients whose messages are not being read, by reason: join, channel, link",
    "link_queue_bytes": "bytes queued for the peers of the links, in total",
    "links": "links to workers (in a gateway) or of gateways (in a worker) that are up",
    "bus_connected": "whether this node's publisher is connected to the proxy: 1 or 0",
    "bus_backlog_messages": "broadcasts queued while no proxy is available",
    "loop_lag_seconds": "how late the event loop was at the last probe",
    "loop_stall_cpu_seconds": "the most CPU time used in one turn of the event loop since the last scrape",
    "loop_stall_seconds": "the longest turn of the event loop since the last scrape",
    "ready": "whether /readyz answers 200: 1 or 0",
}
"""The values that a node's `gauges` may return, exported as mesh_<name>."""

DELIVERY_METRICS: Mapping[str, str] = {
    "fanout_messages_total": "broadcasts to topics with members on this gateway, by route",
    "fanout_expected_total": "members at the time of each broadcast, summed over all broadcasts, by route",
    "fanout_total": "outcomes of each broadcast for each member, by route, result and reason",
    "fanout_waiting": "broadcasts queued for members now, by route and reason",
}
"""A gateway's metrics, exported as mesh_<name>; gateway/fanout/delivery_stats.py says how they add up."""

HISTOGRAMS: Mapping[str, str] = {
    "join_seconds": "time from a join's arrival in the worker to its answer",
    "handle_in_seconds": "duration of the handlers of clients' events",
    "loop_turn_seconds": "duration of the turns of the event loop",
}

Gauges = Mapping[str, float | Mapping[str, float]]
"""By name: a value, or values by label."""
LABELS: Mapping[str, str] = {"open_connections": "transport", "readers_paused": "reason"}

Routes = Callable[[], Mapping[str, DeliveryStats]]
"""Returns the delivery statistics of each route."""


class NodeCollector(Collector):
    """Reads a node's metrics. `gauges`, and a gateway's `routes`, are called at each scrape."""

    def __init__(self, gauges: Callable[[], Gauges], routes: Routes | None = None) -> None:
        self._gauges = gauges
        self._routes = routes

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
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
        if self._routes is not None:
            yield from _delivery_metrics(self._routes())


def registry(gauges: Callable[[], Gauges], routes: Routes | None = None) -> CollectorRegistry:
    """Return a registry with the metrics of one node."""
    metrics = CollectorRegistry()
    metrics.register(NodeCollector(gauges, routes))
    return metrics


def _delivery_metrics(routes: Mapping[str, DeliveryStats]) -> Iterable[Metric]:
    texts = iter(DELIVERY_METRICS.values())
    messages = CounterMetricFamily("mesh_fanout_messages", next(texts), labels=["route"])
    expected = CounterMetricFamily("mesh_fanout_expected", next(texts), labels=["route"])
    outcomes = CounterMetricFamily("mesh_fanout", next(texts), labels=["route", "result", "reason"])
    waiting = GaugeMetricFamily("mesh_fanout_waiting", next(texts), labels=["route", "reason"])
    for route, delivery in routes.items():
        messages.add_metric([route], delivery.messages)
        expected.add_metric([route], delivery.expected)
        outcomes.add_metric([route, "delivered", ""], delivery.delivered)
        for reason in FILTERED:
            outcomes.add_metric([route, "filtered", reason], delivery.filtered.get(reason, 0))
        for reason in DROPPED:
            outcomes.add_metric([route, "dropped", reason], delivery.dropped.get(reason, 0))
        waiting.add_metric([route, "held"], delivery.held)
        waiting.add_metric([route, "unsent"], delivery.unsent)
    return messages, expected, outcomes, waiting


def _gauge(name: str, meaning: str, value: float | Mapping[str, float]) -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(name, meaning, value=value)
    family = GaugeMetricFamily(name, meaning, labels=[LABELS[name.removeprefix("mesh_")]])
    for label, number in value.items():
        family.add_metric([label], number)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    buckets, total = [], 0
    for bound, number in zip((*map(str, histogram.BOUNDS), "+Inf"), histogram.buckets, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=histogram.sum)
