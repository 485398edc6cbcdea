"""mesh/client/session.py without a loop: the connection, its heartbeats and its options. Intervals are those of phoenix.js."""

import pytest

from mesh.client.actions import Changed, Connect, Disconnect, Send
from mesh.client.events import Closed, Opened, Start
from mesh.client.options import Options, retry_delay
from mesh.errors import SettingsError
from tests.unit.mesh.client.timeline import Timeline


def test_a_client_reconnects_after_the_intervals_of_phoenix_js():
    timeline = Timeline()
    assert timeline.do(Start()) == [Connect()]
    waits = []
    for _ in range(12):
        assert timeline.do(Closed("refused")) == []
        ((when, actions),) = timeline.wait(5)
        assert actions == [Connect()]
        waits.append(round(when - (timeline.now - 5), 3))
    assert waits == [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5, 5, 5]
    timeline.do(Opened())
    timeline.do(Closed("lost"))
    assert timeline.wait(0.01)[0][1] == [Connect()], "a connection that opened resets the intervals"


def test_a_heartbeat_is_sent_thirty_seconds_after_the_last_answer(timeline):
    ((when, (beat,)),) = timeline.wait(30)
    assert (when, beat) == (30, Send(None, beat.ref, "phoenix", "heartbeat", {}))
    timeline.now = 31
    assert timeline.reply(beat.ref, topic="phoenix") == []
    assert [when for when, _ in timeline.wait(30)] == [61]


def test_a_heartbeat_without_an_answer_ends_the_connection(timeline):
    channel = timeline.joined()
    happened = timeline.wait(61)
    assert happened[1] == (
        60,
        [Disconnect(1000, "heartbeat timeout"), Changed(channel, "errored", "heartbeat timeout")],
    )
    assert happened[2] == (60.01, [Connect()])
    assert not timeline.session.connected


def test_an_answer_to_another_heartbeat_is_ignored(timeline):
    ((_, (beat,)),) = timeline.wait(30)
    assert timeline.reply("999", topic="phoenix") == []
    assert any(isinstance(each, Disconnect) for _, actions in timeline.wait(31) for each in actions)
    assert beat.ref != "999"


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_seconds": 0},
        {"heartbeat_seconds": -1},
        {"reconnect_seconds": ()},
        {"rejoin_seconds": (float("nan"),)},
    ],
)
def test_invalid_options_raise_settings_error(options):
    with pytest.raises(SettingsError):
        Options(**options)


def test_the_last_interval_is_repeated():
    assert [retry_delay((1.0, 2.0), attempt) for attempt in (1, 2, 3, 99)] == [1, 2, 2, 2]
