"""Whatever overtakes what: a client that recovers has each broadcast once, in order, or is ended."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from mesh.link.commands import SocketDown
from tests.support.recorded import Gateway

STEPS = st.lists(
    st.one_of(
        st.just(("publish",)),
        st.just(("publish",)),
        st.tuples(st.just("arrive"), st.sampled_from([False, False, False, True])),
        st.tuples(st.just("arrive"), st.just(False)),
        st.just(("answer",)),
        st.just(("state",)),
        st.tuples(st.just("miss"), st.integers(1, 4)),
        st.just(("move",)),
    ),
    max_size=60,
)


class Story:
    """A log, what is under way on the bus, and one client with a position."""

    def __init__(self, published, position):
        self.gateway = Gateway()
        self.published, self.position = published, min(position, published)
        self.under_way, self.missed = [], None
        self.answered = self.lost = False
        self.gateway.say("1", "1", "room:1", "phx_join", {})

    def publish(self):
        self.published += 1
        self.under_way.append(self.published)

    def arrive(self, lost):
        if self.under_way:
            offset = self.under_way.pop(0)
            self.lost = self.lost or lost
            if not lost:
                self.gateway.record(offset)

    def answer(self):
        if not self.answered:
            self.answered = True
            self.gateway.join(history=True)

    def state(self):
        self.answer()
        if self.missed is None:
            self.missed = list(range(self.position + 1, self.published + 1))
            self.gateway.recover(self.published, count=len(self.missed))

    def miss(self, number):
        if self.missed:
            self.gateway.miss(*self.missed[:number], event="e")
            del self.missed[:number]

    def move(self):
        """The channel's broadcasts are held and compared again."""
        channel = self.gateway.client.session.channels.get("room:1")
        if channel is not None and channel.phase.joined:
            self.gateway.hub._ordering.joined(channel)

    def end(self):
        self.state()
        while self.missed:
            self.miss(4)
        while self.under_way:
            self.arrive(False)
        self.publish()
        self.arrive(False)

    def check(self):
        refs = [
            int(message[1].partition(":")[2]) for message in self.gateway.client.outbox if message[3] == "e"
        ]
        assert refs == list(range(self.position + 1, self.position + 1 + len(refs)))
        ended = any(type(each) is SocketDown for each in self.gateway.workers.sent)
        if not ended:
            assert not refs or self.published == refs[-1]
        assert self.lost or not ended


@given(STEPS, st.integers(0, 5), st.integers(0, 5))
def test_each_broadcast_once_in_order_or_the_end(steps, published, position):
    async def main():
        story = Story(published, position)
        for verb, *values in steps:
            getattr(story, verb)(*values)
        story.end()
        story.check()
        counts = story.gateway.hub.fanout.routes["room:*"]
        became = sum(counts.filtered.values()) + sum(counts.dropped.values())
        assert counts.expected == counts.delivered + became + counts.held

    asyncio.run(main())
