"""The worker that a moving channel is placed on: only one whose link version knows of moves."""

import asyncio

import pytest

from mesh import settings
from mesh.bus.discovery.placement import Announcement
from mesh.gateway.joins import worker_links
from mesh.gateway.joins.worker_links import WorkerLinks
from tests.support.virtual_time import run_virtually
from tests.unit.gateway.channels.moving_gateway import MOVED, OLD, Gateway

WAIT_SECONDS = 60.0


class Dealer:
    """A link without a socket."""

    up = True

    def __init__(self, version, handlers):
        self.version, self.handlers = version, handlers


class Announcer:
    def __init__(self):
        self.placement = {}


class Workers:
    """The links of a gateway, and what they report; a channel that may be placed is placed again."""

    def __init__(self, **versions):
        self.unplaceable, self.placed, self.announcer = [], [], Announcer()
        self.links = WorkerLinks(
            self, None, "g", self.announcer, settings.load().link, WAIT_SECONDS, max_joins_waiting=10
        )
        for worker, version in versions.items():
            self.link(worker, version)

    def link(self, worker, version, pattern="room:*"):
        """A worker announces itself, and its link comes up."""

        def dealer(*arguments):
            dealers.append(Dealer(version, arguments[-1]))
            return dealers[0]

        dealers = []
        announcement = Announcement(
            node=worker, kind="worker", link="tcp://127.0.0.1:1", routes=(("/socket", pattern),)
        )
        self.announcer.placement[worker] = announcement
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker_links, "Dealer", dealer)
            self.links.announced(announcement)
        dealers[0].handlers.on_up(worker)

    def place(self, channel):
        return self.links.place("/socket", channel, "")

    def on_unplaceable(self, channel):
        self.unplaceable.append(channel)

    def on_placeable(self, channel):
        self.placed.append(self.place(channel))

    def on_linked(self, worker): ...

    def on_command(self, worker, command): ...

    def on_malformed(self, worker, command): ...

    def on_behind(self, worker, behind): ...


def channel_without_worker():
    """A channel that has left its worker, and that no other has taken yet."""
    gateway = Gateway()
    gateway.workers.others.clear()
    gateway.begin()
    gateway.hear(MOVED, OLD)
    (channel,) = gateway.workers.waiting
    return channel


def test_a_channel_moves_only_to_a_worker_whose_link_version_allows_it():
    async def main():
        channel = channel_without_worker()
        assert Workers(a=1, b=2, c=1).place(channel) == "b"
        both = Workers(a=2, b=2)
        both.links.mark_draining("a")
        assert both.place(channel) == "b"

    run_virtually(main())


def test_a_move_is_refused_at_once_by_old_workers_only_and_waits_if_there_are_none():
    async def main():
        channel = channel_without_worker()
        older, none = Workers(a=1), Workers()
        for each in (older, none):
            assert each.place(channel) is None
        await asyncio.sleep(0)
        assert [each.unplaceable for each in (older, none)] == [[channel], []]
        await asyncio.sleep(WAIT_SECONDS - 1)
        assert [each.unplaceable for each in (older, none)] == [[channel], []]
        await asyncio.sleep(2)
        assert [each.unplaceable for each in (older, none)] == [[channel], [channel]]

    run_virtually(main())


def test_a_pending_join_keeps_its_deadline_when_workers_of_other_routes_come():
    async def main():
        channel = channel_without_worker()
        late, placed = Workers(), Workers()
        for each in (late, placed):
            assert each.place(channel) is None
        await asyncio.sleep(WAIT_SECONDS / 2)
        for each in (late, placed):
            each.link("other", 2, pattern="else:*")
            assert each.placed == [None]
        placed.link("ours", 2)
        await asyncio.sleep(WAIT_SECONDS / 2 + 1)
        assert (late.placed, late.unplaceable) == ([None], [channel])
        assert (placed.placed, placed.unplaceable) == ([None, "ours"], [])

    run_virtually(main())
