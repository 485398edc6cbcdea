"""A bus in memory between trackers, which loses, doubles, delays and cuts as a test says."""

import asyncio
import random

from mesh.app import topics


class Network:
    """Trackers add themselves; what one publishes the others hear, if nothing comes between."""

    def __init__(self, seed=0):
        self.chance = random.Random(seed)
        self.loss = self.doubling = self.delay = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.trackers = {}

    def publish(self, node):
        def publish(kind, topic, event, codec, data):
            for name, tracker in list(self.trackers.items()):
                if name != node and topic in (tracker.topic, topics.of_node(name)):
                    self._carry(node, name, data)

        return publish

    def _carry(self, source, target, data):
        if (source, target) in self.cut or self.chance.random() < self.loss:
            return
        for _ in range(2 if self.chance.random() < self.doubling else 1):
            delay = self.chance.random() * self.delay
            asyncio.get_running_loop().call_later(delay, self._arrive, source, target, data)

    def _arrive(self, source, target, data):
        if target in self.trackers:
            self.trackers[target].handle(source, data)

    def cut_off(self, *nodes):
        """Nobody hears these nodes, and they hear nobody."""
        for node in nodes:
            for other in self.trackers:
                if other not in nodes:
                    self.cut |= {(node, other), (other, node)}

    def heal(self):
        self.cut.clear()
        self.loss = self.doubling = self.delay = 0.0
