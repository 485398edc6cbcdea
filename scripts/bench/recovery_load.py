"""Measures how fast thousands of clients recover what they have missed when their gateway has died.

The clients of one gateway have joined topics with a history when it is killed. Then MISSED messages are
broadcast to each topic, and all clients join again at once, through another gateway, with the position that
they had. Each must receive the reply, `history_state`, and the missed messages.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable

from bench import generator
from bench.processes import Meter
from bench.rawsocket import RawSocket
from bench.row import Report, Run

TOPICS = 10
MISSED = 20
READY_SECONDS = 120.0
SETTLE_SECONDS = 2.0
"""After the last join, for the missed messages."""


def after_a_death(clients: int) -> Callable[[Run], Report]:
    """Return a row: this number of clients of one gateway recover through another one."""

    def work(run: Run) -> Report:
        number = max(TOPICS, run.capped(clients)) // TOPICS
        first, second = run.server.hosts[:2]
        gateways = run.server.parts["gateway"]
        publisher = RawSocket(second)
        running = [_start(run, first, topic, number, "{}", READY_SECONDS) for topic in range(TOPICS)]
        try:
            positions = [_position(publisher, topic) for topic in range(TOPICS)]
            for each in running:
                _wait_until_joined(each)
            os.kill(gateways[0], signal.SIGKILL)
            _miss(publisher)
            meter = Meter([pid for pid in run.server.pids if pid != gateways[0]])
            recovering = [
                _start(run, second, topic, number, position, SETTLE_SECONDS)
                for topic, position in enumerate(positions)
            ]
            reports = [generator.finished(each) for each in recovering]
            return _result({**meter.report()}, reports, number)
        finally:
            publisher.close()
            for each in running:
                each.kill()
                each.communicate()

    return work


def _result(used: Report, reports: list[Report], number: int) -> Report:
    """Combine the generators' reports; each client must have received one message more than it missed."""
    total = number * TOPICS
    complete = [each["ok"] and each["unexpected"] == number * (MISSED + 1) for each in reports]
    return {
        **used,
        "clients": total,
        "recovered": number * sum(complete),
        "recovery_s": max(each.get("join_s", 0.0) for each in reports),
        "recovery_cpu_ms": 1000 * used["server_cpu_s"] / total,
        "lat_ms_p99": max(each.get("lat_ms_p99", 0.0) for each in reports),
        "error": next((each["error"] for each in reports if "error" in each), ""),
        "ok": all(complete),
    }


def _start(
    run: Run, host: str, topic: int, number: int, history: str, seconds: float
) -> "subprocess.Popen[bytes]":
    """Start the clients of one topic, which join with this history in the payload, and stay for a time."""
    arguments = f"hold -n {number} --topics 1 --topic-prefix kept: --topic-offset {topic} --hb 0 -s 0.1"
    options = ["--settle", str(seconds), "--join-payload", f'{{"history":{history}}}']
    return generator.start(run.wsload, run.server._replace(hosts=[host]), [*arguments.split(), *options])


def _wait_until_joined(process: "subprocess.Popen[bytes]") -> None:
    """Wait until a generator reports that its clients have joined."""
    assert process.stderr is not None
    for line in process.stderr:
        if b" joined in " in line:
            return
    raise RuntimeError("the clients could not join")


def _position(publisher: RawSocket, topic: int) -> str:
    """Join a topic, and return its position, as JSON."""
    publisher.send(f'["1","1","kept:{topic}","phx_join",{{"history":{{}}}}]')
    while True:
        for message in publisher.messages():
            event, payload = json.loads(message)[3:]
            if event == "history_state":
                return json.dumps({"epoch": payload["epoch"], "offset": payload["offset"]})
        publisher.read()


def _miss(publisher: RawSocket) -> None:
    """Broadcast to all topics, and wait until that has arrived."""
    for topic in range(TOPICS):
        publisher.push(f"kept:{topic}", "burst", f'{{"times":{MISSED},"d":"{"x" * 92}"}}')
    arrived = 0
    while arrived < MISSED * TOPICS:
        publisher.read()
        arrived += sum(b'"new_msg"' in message for message in publisher.messages())
