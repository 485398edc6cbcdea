"""Reads a node's metrics for Prometheus, at each scrape; no counts are kept here."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mesh.gateway.fanout.delivery_stats import DROPPED, FILTERED, DeliveryStats
from mesh.nodes.metrics import DELIVERY_METRICS, GAUGES, HISTOGRAMS, LABELS, TOTALS, Gauges, Routes
from mesh.telemetry import COUNTERS, counters, stats
from mesh.telemetry.counters import Histogram


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
