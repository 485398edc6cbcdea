"""The counters and times of this process, each with a documented name. Plain integers, for hot paths."""

from bisect import bisect_left
from collections.abc import Mapping

COUNTERS: Mapping[str, str] = {
    "accepts_failed": "connections that a gateway could not accept, for lack of descriptors or memory",
    "api_messages_published": "messages published over HTTP",
    "api_requests_refused": "requests to publish over HTTP answered with 4xx or 503",
    "background_tasks_failed": "background tasks of the application that raised and were restarted",
    "broadcasts_unencodable": "broadcasts skipped for clients whose protocol cannot carry them",
    "bus_backlog_dropped": "bus messages dropped because the backlog was full or the node stopped",
    "bus_duplicates_dropped": "bus messages dropped because they had already arrived",
    "bus_interruptions": "connections to a proxy that ended; nothing is received until it is back",
    "bus_messages_malformed": "malformed bus messages",
    "bus_messages_resent": "bus messages sent again because the proxy that had them was lost",
    "bus_calls_repeated": "calls to other nodes, and answers to calls, repeated after a reminder",
    "bus_moves_expired": "topic moves ended before all markers arrived: order may be wrong",
    "bus_origins_forgotten": "nodes whose message numbers were forgotten because there were over 10,000",
    "channels_crashed": "channels ended by an exception",
    "channels_moved": "channels that this worker handed to another one when it stopped",
    "channels_not_moved": "channels that could not move to another worker, or whose client left meanwhile",
    "channels_restored": "channels that this worker took over from another one that stopped",
    "connections_refused": "clients refused before they were connected, over any transport",
    "curve_keys_refused": "connections to ZeroMQ listeners refused because of their CURVE key",
    "forwarded_headers_malformed": "malformed Forwarded and X-Forwarded-* headers of trusted proxies",
    "frames_malformed": "client messages that closed their connection with 1002, 1007, 1008, 1009 or 1011",
    "handlers_failed": "messages whose handling failed by an error of ours, logged with a traceback",
    "history_broadcasts_recorded": "kept broadcasts that this worker gave a position",
    "history_broadcasts_stale": "recorded broadcasts by a worker that another one has replaced: dropped",
    "history_broadcasts_unannounced": "recorded broadcasts by a node that is not known to record: ignored",
    "history_conflicts": "topics that two workers recorded at the same time; each begins a new epoch",
    "history_epochs_begun": "topics that began a new epoch: new ones, and those whose continuity was lost",
    "history_gaps": "recorded broadcasts that a gateway missed: clients that asked for positions rejoin",
    "history_originals_dropped": "kept broadcasts that no worker recorded in time, or that exceeded limits",
    "history_recoveries": "joins that asked for the history and were answered `recovered: true`",
    "history_recoveries_failed": "joins that asked for the history and were answered `recovered: false`",
    "history_store_failures": "kept broadcasts that the history store did not accept",
    "history_takeovers": "topics that this worker began to record in place of another worker",
    "history_topics_dropped": "topics whose history was dropped because of `history.max_bytes`",
    "hold_timeouts": "commands that were held for an earlier broadcast, which did not arrive in time",
    "http_bodies_refused": "HTTP requests answered with 413 or 503 because of the size of their bodies",
    "http_requests_refused": "HTTP requests refused: bad first line or host, too long or too slow",
    "joins_crashed": "joins refused because joins of the topic had ended workers",
    "joins_without_bus": "joins refused because the subscription to their topic was not in force in time",
    "links_given_up": "links ended because the peer was too far behind, or accepted nothing",
    "links_incompatible": "links that were not established because there is no common version",
    "link_commands_unencodable": "link commands dropped because they could not be encoded",
    "link_commands_malformed": "malformed link commands that ended a channel, and unknown commands",
    "links_failed": "links that ended, or could not be established, without an orderly stop",
    "link_messages_malformed": "malformed link messages",
    "log_lines_left_out": "log lines left out because there were too many similar ones",
    "log_lines_lost": "lines of output lost because they were not read or could not be written",
    "longpoll_lines_dropped": "messages of a long-poll request beyond the 100th, or after a long pause",
    "mailboxes_overflowed": "channels ended because their mailbox was full",
    "messages_not_moved": "messages from a channel to itself that arrived during its async snapshot",
    "messages_rate_limited": "pushes and joins refused because of a rate limit",
    "messages_unencodable": "pushes skipped because the client's protocol cannot carry them",
    "presence_callbacks_failed": "calls of fetch or handle_metas that raised or took over 30 seconds",
    "presence_diffs_unencodable": "presence diffs or presences that are too large or cannot be encoded",
    "proxy_headers_refused": "connections closed: no valid PROXY header, or not from a trusted proxy",
    "pushes_without_channel": "pushes and leaves for channels that had ended",
    "readers_paused": "times that reading from a client was paused because too much of it waited",
    "replies_unencodable": "replies skipped because the client's protocol cannot carry them",
    "slow_clients_closed": "connections ended because the client read too slowly",
    "stale_messages_ignored": "messages with the join_ref of an earlier join",
    "subscription_broadcasts_dropped": "broadcasts dropped because a subscription was not read in time",
    "topics_paused": "times that a topic's publishers were paused for a client of this gateway",
    "worker_payloads_malformed": "replies and pushes of workers that no client can decode",
    "zeromq_floods_closed": "ZeroMQ clients closed because too much waited for their pending joins",
}
"""Every counter, and what it counts."""


class Counters:
    """The counters of this process, with the names in COUNTERS."""

    def __init__(self) -> None:
        self._values = dict.fromkeys(COUNTERS, 0)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter. Raises KeyError for a name that is not in COUNTERS."""
        self._values[name] += amount

    def value(self, name: str) -> int:
        """Return one counter."""
        return self._values[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counters."""
        return dict(self._values)


counters = Counters()
"""The counters of this process."""


class Histogram:
    """A histogram of durations, as Prometheus expects it."""

    BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
    """The upper bounds of the buckets, in seconds; one more bucket has no bound."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        self.buckets[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds


class Stats:
    """What a node has done since it started.

    Attributes:
        connections: accepted clients.
        messages_in: messages from clients, including heartbeats.
        deliveries: broadcasts added to clients' outboxes.
        joins_ok: joins accepted by a worker.
        joins_refused: joins refused by a worker, including crashed ones.
        pushes: events handled by channels.
        replies: replies sent by channels.
        channel_pushes: pushes sent by channels.
        broadcasts: broadcasts published by this node.
        bus_received: broadcasts received over the bus, without duplicates.
        broadcasts_unneeded: broadcasts to a topic that has no members here.
        join_seconds: the time from a JOIN's arrival in the worker to its answer.
        handle_in_seconds: the time that the handler of a push took.
        loop_stalls: times that the event loop was blocked for more than 20 ms.
        loop_turn_seconds: the duration of the turns of the event loop.
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
"""The statistics of this process."""
