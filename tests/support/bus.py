"""A bus in tests: lists in its place."""


class Bus:
    """What is subscribed, and which broadcasts, by (origin, number), have come."""

    unread = False

    def __init__(self):
        self.subscribed, self.came = [], set()

    def subscribe(self, subscription):
        self.subscribed.append(subscription)

    def unsubscribe(self, subscription):
        self.subscribed.remove(subscription)

    def when_subscribed(self, callback):
        callback()
        return lambda: None

    def delivered(self, origin, sequence):
        return (origin, sequence) in self.came


class NumberingBus(Bus):
    """And what was published; `channels` are told the numbers."""

    def __init__(self):
        super().__init__()
        self.sequence, self.published = 0, []

    def publish(self, topic, event, codec, data, sender):
        self.sequence += 1
        self.published.append((topic, event, sender))
        self.channels.members.published(topic, self.sequence)
        return self.sequence
