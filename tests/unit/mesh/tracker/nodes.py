"""Nodes with a tracker each, on a network that a test can disturb, in virtual time."""

import asyncio

from mesh.settings import PresenceSettings
from mesh.tracker.tracker import Tracker
from tests.support.network import Network
from tests.support.virtual_time import run_virtually

SETTINGS = PresenceSettings()


class Node:
    """A tracker, and the changes that it reported. `failures`: how many messages cannot be sent from now on."""

    def __init__(self, network, name):
        self.seen = []
        self.diffs = []
        self.failures = 0
        self._send = network.publish(name)
        self.tracker = network.trackers[name] = Tracker(
            "people", name, self._publish, SETTINGS, self._changed
        )
        self.tracker.start()

    def _publish(self, *message):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("raised on request")
        self._send(*message)

    def _changed(self, changes):
        self.diffs.append(changes)
        for change in changes:
            entry = (change.topic, change.key, change.meta["n"])
            if change.joined:
                assert entry not in self.seen
                self.seen.append(entry)
            else:
                self.seen.remove(entry)

    def here(self, topic="t"):
        return {
            key: [meta["n"] for meta in metas] for key, metas in self.tracker.get_by_topic(topic).items()
        }


def world(scenario, names="abc", seed=0):
    async def guarded():
        network = Network(seed)
        nodes = [Node(network, name) for name in names]
        await asyncio.sleep(1)
        await scenario(network, *nodes)
        for node in nodes:
            node.tracker.close()

    run_virtually(guarded())


def freeze(seconds):
    """No node runs for this long: all timers are late."""
    asyncio.get_running_loop()._now += seconds  # the clock of VirtualTimeLoop
