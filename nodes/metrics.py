"""The metrics that a node exports to Prometheus: their names and meanings. collector.py reads them."""

from collections.abc import Callable, Mapping

from mesh.gateway.fanout.delivery_stats import DeliveryStats

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
    "history_topics": "topics whose history this worker records or copies, in memory",
    "history_bytes": "memory of these histories, estimated",
    "history_unrecorded": "kept broadcasts that no worker has recorded yet",
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
