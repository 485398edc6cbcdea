"""Counts and times of this process: one documented name for each. Plain integers: hot paths add to them."""

from bisect import bisect_left
from collections.abc import Mapping

COUNTERS: Mapping[str, str] = {
    "accepts_failed": "times that a gateway could accept no connection, for want of descriptors or memory",
    "api_messages_published": "messages published over HTTP",
    "api_requests_refused": "requests to publish over HTTP answered with 4xx or 503",
    "background_tasks_failed": "background tasks of the application that raised, and were started again",
    "broadcasts_unencodable": "broadcasts skipped for clients whose protocol cannot carry them",
    "bus_backlog_dropped": "bus messages dropped because the backlog was full or the node stopped",
    "bus_duplicates_dropped": "bus messages that had come before, through another proxy",
    "bus_interruptions": "connections to a proxy that ended: for a while nothing came through it",
    "bus_messages_malformed": "bus messages that were not of our protocol",
    "bus_messages_resent": "bus messages sent again because the proxy that had them was lost",
    "bus_calls_repeated": "calls to other nodes, and answers to calls, repeated after a reminder",
    "bus_moves_expired": "waits for what came another way that ended without it: an order may be wrong",
    "channels_crashed": "channels ended by an exception",
    "channels_moved": "channels that this worker gave to another when it stopped",
    "channels_not_moved": "channels that could not move to another worker, or whose client left meanwhile",
    "channels_restored": "channels that this worker took over from another that stopped",
    "connections_refused": "clients refused before they were connected, over any transport",
    "curve_keys_refused": "connections to ZeroMQ listeners refused because of their CURVE key",
    "forwarded_headers_malformed": "malformed Forwarded and X-Forwarded-* headers of trusted proxies",
    "frames_malformed": "client messages that closed their connection with 1002, 1007, 1008, 1009 or 1011",
    "handlers_failed": "messages whose handling failed by an error of ours, logged with a traceback",
    "hold_timeouts": "commands that waited in vain for the broadcast before them",
    "http_bodies_refused": "HTTP requests answered with 413 or 503 because of the size of their bodies",
    "http_requests_refused": "HTTP requests refused: bad first line or host, too long or too slow",
    "joins_crashed": "joins refused because workers died of them, or of other joins of the topic",
    "joins_without_bus": "joins refused because the bus did not take their topic in time",
    "links_given_up": "links ended because the other side was too far behind, or took nothing",
    "links_incompatible": "links that did not come about because the two sides speak other versions",
    "link_commands_unencodable": "link commands dropped because they could not be encoded",
    "link_commands_malformed": "malformed link commands that ended a channel, and unknown commands",
    "links_failed": "links that ended, or did not come about, without an orderly stop",
    "link_messages_malformed": "link messages that were not of our protocol",
    "log_lines_left_out": "lines left out of the log because there were too many like them",
    "log_lines_lost": "lines of output lost because nobody read it or it could not be written",
    "longpoll_lines_dropped": "messages of a long-poll request: beyond the 100th, or behind a long pause",
    "mailboxes_overflowed": "channels ended because their mailbox was full",
    "messages_not_moved": "messages of a channel to itself that came while its async snapshot ran",
    "messages_rate_limited": "pushes and joins refused because their client sends too many",
    "messages_unencodable": "pushes skipped because the client's protocol cannot carry them",
    "presence_callbacks_failed": "calls of fetch or handle_metas that raised or took over 30 seconds",
    "presence_diffs_unencodable": "presence diffs or presences that are too large or cannot be encoded",
    "proxy_headers_refused": "connections closed: no valid PROXY header, or not from a trusted proxy",
    "pushes_without_channel": "pushes and leaves for channels that had ended",
    "readers_paused": "times that a client was no longer read from because much of it waits",
    "replies_unencodable": "replies skipped because the client's protocol cannot carry them",
    "slow_clients_closed": "connections ended because the client read too slowly",
    "stale_messages_ignored": "messages with the join_ref of an earlier join",
    "subscription_broadcasts_dropped": "broadcasts dropped because a subscription was not read in time",
    "topics_paused": "times that a topic's publishers had to wait for a client of this gateway",
    "worker_payloads_malformed": "replies and pushes of workers that no client can read",
    "zeromq_floods_closed": "ZeroMQ clients closed because too much waited for their pending joins",
}
"""Every count there is, and what it counts."""


class Counters:
    """Counts of this process, by the names in COUNTERS."""

    def __init__(self) -> None:
        self._values = dict.fromkeys(COUNTERS, 0)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a count. Raises KeyError for a name that is not in COUNTERS."""
        self._values[name] += amount

    def value(self, name: str) -> int:
        """One count."""
        return self._values[name]

    def snapshot(self) -> dict[str, int]:
        """All counts."""
        return dict(self._values)


counters = Counters()
"""Of this process."""


class Histogram:
    """How long something took, in buckets, as Prometheus wants it."""

    BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
    """Upper bounds, in seconds; there is one more bucket for what is beyond."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One took that long."""
        self.buckets[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds


class Stats:
    """What a node has done since it started.

    Attributes:
        connections: clients accepted.
        messages_in: messages of clients, heartbeats included.
        deliveries: broadcasts put into clients' outboxes.
        joins_ok: joins accepted, in a worker.
        joins_refused: joins refused, in a worker; crashed ones included.
        pushes: events handled by channels.
        replies: replies sent by channels.
        channel_pushes: pushes sent by channels.
        broadcasts: broadcasts published by this node.
        bus_received: broadcasts that came over the bus, each once.
        broadcasts_unneeded: broadcasts to a topic of which nobody here is a member.
        join_seconds: from a JOIN's arrival in the worker to its answer.
        handle_in_seconds: of a push's handler.
        loop_stalls: times that the event loop was held up for more than 20 ms.
        loop_turn_seconds: how long the turns of the event loop took.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.messages_in = 0
        self.deliveries = 0
        self.joins_ok = 0
        self.joins_refused = 0
        self.pushes = 0
        self.replies = 0
        self.channel_pushes = 0
        self.broadcasts = 0
        self.bus_received = 0
        self.broadcasts_unneeded = 0
        self.join_seconds = Histogram()
        self.handle_in_seconds = Histogram()
        self.loop_stalls = 0
        self.loop_turn_seconds = Histogram()


stats = Stats()
"""Of this process."""
