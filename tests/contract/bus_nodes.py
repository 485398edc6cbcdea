"""What the bus contract publishes with, and what it records."""

from mesh.protocol.messages import JSON


class Heard:
    """Handlers that record what they are called with."""

    def __init__(self):
        self.broadcasts, self.messages, self.published = [], [], []

    def handlers(self, *kinds):
        return {
            "broadcast": lambda topic, header, data: self.broadcasts.append((topic, header, bytes(data))),
            "messages": {
                kind: lambda header, data: self.messages.append((header, bytes(data))) for kind in kinds
            },
            "published": lambda topic, number: self.published.append((topic, number)),
        }

    @property
    def events(self):
        return [header.event for _, header, _ in self.broadcasts]


def say(bus, event, topic="room:1", data=b"{}"):
    return bus.publish(topic, event, JSON, data, None)


async def following(subscription, count):
    got = []
    async for broadcast in subscription:
        got.append(broadcast)
        if len(got) == count:
            return got
