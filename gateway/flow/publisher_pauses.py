"""Pauses the publishers of topics that have a slow client: `slow_consumer = "pause_publisher"`.

When a client's unsent bytes exceed a threshold, workers are asked to handle no pushes on those of its
topics whose Channel class has this policy. When a topic's last slow client has caught up or is gone, they
are asked to resume. A client that does not catch up in time is closed as too slow, so that no client can
stop a topic forever.
"""

import asyncio
from typing import Protocol

from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Phase
from mesh.gateway.client import Client
from mesh.gateway.flow.watermark import HighWatermark
from mesh.link import commands
from mesh.settings import GatewaySettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

POLICY = "pause_publisher"


class Workers(Protocol):
    """The linked workers, as far as they understand these commands; implemented by WorkerLinks."""

    def tell(self, worker: str, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for one worker."""

    def tell_all(self, command: commands.TopicPaused | commands.TopicResumed) -> None:
        """Queue a command for every worker."""


class PublisherPauses:
    """Tracks the clients that are behind, and the topics paused for them."""

    def __init__(self, workers: Workers, settings: GatewaySettings) -> None:
        self._workers = workers
        self._threshold_bytes = min(settings.pause_publisher_bytes, settings.max_unsent_bytes // 2)
        self._max_pause_seconds = settings.pause_publisher_seconds
        self._timers: dict[Client, asyncio.TimerHandle] = {}
        self._topics: dict[str, dict[GatewayChannel, None]] = {}

    def linked(self, worker: str) -> None:
        """Tell a worker whose link is up which topics are paused."""
        for topic in self._topics:
            self._workers.tell(worker, commands.TopicPaused(topic))

    def joined(self, client: Client, channel: GatewayChannel) -> None:
        """Note a joined channel, and watch its client if its class has this policy."""
        if channel.route.channel.slow_consumer != POLICY:
            return
        if client.outbox.watermark is None:
            client.outbox.watermark = HighWatermark(
                self._threshold_bytes, lambda over: self._on_watermark(client, over)
            )
        if client.outbox.watermark.over:
            self._pause(channel)

    def dropped(self, channel: GatewayChannel) -> None:
        """Note the end of a channel, and resume its topic if no other slow client is on it."""
        if not self._topics:
            return
        channels = self._topics.get(channel.topic)
        if channels is None or channels.pop(channel, channels) is channels:
            return
        if not channels:
            del self._topics[channel.topic]
            self._workers.tell_all(commands.TopicResumed(channel.topic))

    def forget(self, client: Client) -> None:
        """Forget a client that is gone. Its channels end with `dropped`, which the caller calls."""
        client.outbox.watermark = None  # breaks a cycle: it refers to the client, the client to the outbox
        self._stop_timer(client)

    def _stop_timer(self, client: Client) -> None:
        timer = self._timers.pop(client, None)
        if timer is not None:
            timer.cancel()

    def _on_watermark(self, client: Client, over: bool) -> None:
        self._stop_timer(client)
        channels = client.session.channels.values()
        if not over:
            for channel in channels:  # including those that are moving to another worker
                self.dropped(channel)
            return
        loop = asyncio.get_running_loop()
        self._timers[client] = loop.call_later(self._max_pause_seconds, self._on_timeout, client)
        for channel in channels:
            if channel.phase is Phase.JOINED and channel.route.channel.slow_consumer == POLICY:
                self._pause(channel)

    def _pause(self, channel: GatewayChannel) -> None:
        channels = self._topics.get(channel.topic)
        if channels is None:
            channels = self._topics[channel.topic] = {}
            counters.count("topics_paused")
            self._workers.tell_all(commands.TopicPaused(channel.topic))
        channels[channel] = None

    def _on_timeout(self, client: Client) -> None:
        log.warning(
            "a client has kept publishers waiting for too long",
            socket_id=client.id,
            seconds=self._max_pause_seconds,
            setting="gateway.pause_publisher_seconds",
        )
        client.transport.close_slow(client.outbox.unsent_bytes)
