"""The topics and links that are paused, so that their channels handle no pushes. Pure.

A gateway pauses a topic while one of its clients is behind on it (`slow_consumer = "pause_publisher"`). The
worker itself pauses a link while too much waits for its gateway. Pushes that clients send in the meantime
wait in the mailboxes.
"""


class PushPauses:
    """The paused topics and links."""

    def __init__(self) -> None:
        self._topics: dict[str, set[bytes]] = {}
        self._links: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._topics or self._links)

    def __len__(self) -> int:
        return len(self._topics)

    def paused(self, topic: str, link: bytes) -> bool:
        """Return whether a channel on this topic and link must not handle pushes."""
        return topic in self._topics or link in self._links

    def pause_topic(self, topic: str, link: bytes) -> None:
        """Pause a topic: the gateway at `link` has a client that is behind on it."""
        self._topics.setdefault(topic, set()).add(link)

    def resume_topic(self, topic: str, link: bytes) -> None:
        """Resume a topic: the gateway at `link` has no such client any longer."""
        links = self._topics.get(topic)
        if links is not None:
            links.discard(link)
            if not links:
                del self._topics[topic]

    def pause_link(self, link: bytes, paused: bool) -> None:
        """Pause a link because too much waits for its gateway, or resume it."""
        if paused:
            self._links.add(link)
        else:
            self._links.discard(link)

    def forget(self, link: bytes) -> list[str]:
        """Forget a link that has ended; return the topics that only its gateway had paused."""
        self._links.discard(link)
        topics = [topic for topic, links in self._topics.items() if link in links]
        for topic in topics:
            self.resume_topic(topic, link)
        return [topic for topic in topics if topic not in self._topics]
