"""Measures the proxy's capacity with raw publishers and subscribers on the bus, each a process.

As a program, it is one of the two:  bus_load.py publish|subscribe PROXY RATE SECONDS
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import zmq

from bench.processes import Meter
from bench.row import Report, Run
from mesh.addresses import publish_address, subscribe_address
from mesh.bus.frames import BROADCAST, VERSION, Header, encode_header

TOPIC = b"load:1\0"
END = b"load:end\0"
WARM_SECONDS = 1.0
HIGH_WATER_MARK = 100_000


def through_the_proxy(per_second: int, subscribers: int = 1) -> Callable[[Run], Report]:
    """Return a row: a rate of broadcasts from one publisher to a number of subscribers of its topic."""

    def work(run: Run) -> Report:
        proxy = run.server.proxies[0]
        arguments = [proxy, str(run.capped(per_second)), str(run.seconds)]
        listening = [_start("subscribe", arguments) for _ in range(subscribers)]
        for each in listening:
            assert each.stdout is not None
            each.stdout.readline()  # "ready"
        meter = Meter(run.server.parts["proxy"])
        published = json.loads(_start("publish", arguments).communicate()[0].splitlines()[-1])
        reports = [json.loads(each.communicate()[0].splitlines()[-1]) for each in listening]
        return {**_result(meter.report(), published, reports), "subscribers": subscribers}

    return work


def _result(report: Report, published: dict[str, Any], reports: list[dict[str, Any]]) -> Report:
    sent, received = published["sent"], sum(each["received"] for each in reports)
    cost = 1e6 * report["server_cpu_s"] / max(1, sent)
    return {
        **report,
        "sent": sent,
        "dropped": sent * len(reports) - received,
        "reordered": sum(each["reordered"] for each in reports),
        "bus_per_s": sent / published["seconds"],
        "proxy_us_per_msg": cost,
        "ok": received == sent * len(reports) and not any(each["reordered"] for each in reports),
    }


def _start(role: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
    code = "import sys; sys.path[:0] = [sys.argv.pop(1)]; from bench import bus_load; bus_load.main()"
    scripts = __file__.rpartition("/bench/")[0]
    return subprocess.Popen([sys.executable, "-c", code, scripts, role, *arguments], stdout=subprocess.PIPE)


def main() -> None:
    """Run one of the two programs."""
    role, proxy, per_second, seconds = sys.argv[1:5]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    if role == "publish":
        report = _publish(context, proxy, int(per_second), float(seconds))
    else:
        report = _subscribe(context, proxy, float(seconds))
    print(json.dumps(report), flush=True)
    context.destroy(linger=5_000)


def _publish(context: "zmq.Context[zmq.Socket[bytes]]", proxy: str, rate: int, seconds: float) -> Report:
    publisher = context.socket(zmq.XPUB)
    publisher.set(zmq.XPUB_NODROP, 1)
    publisher.set(zmq.SNDHWM, HIGH_WATER_MARK)
    publisher.connect(publish_address(proxy))
    publisher.recv()  # the proxy's subscription shows that it is connected
    time.sleep(min(WARM_SECONDS, seconds))
    header = encode_header(Header(VERSION, BROADCAST, "load", 1, "new_msg", 0))
    started, number, sent = time.monotonic(), int(rate * seconds), 0
    while sent < number:
        due = min(number, int((time.monotonic() - started) * rate) + 1)
        for sequence in range(sent, due):
            publisher.send_multipart((TOPIC, header, sequence.to_bytes(8) + bytes(92)))
        sent = due
        time.sleep(0.001)
    spent = time.monotonic() - started
    for _ in range(20):  # at least one of them arrives after the last, however slow the subscriber is
        publisher.send_multipart((END, header, b""))
        time.sleep(0.05)
    return {"sent": sent, "seconds": spent}


def _subscribe(context: "zmq.Context[zmq.Socket[bytes]]", proxy: str, seconds: float) -> Report:
    subscriber = context.socket(zmq.SUB)
    subscriber.set(zmq.RCVHWM, HIGH_WATER_MARK)
    subscriber.connect(subscribe_address(proxy))
    subscriber.subscribe(b"load:")
    subscriber.set(zmq.RCVTIMEO, int(1000 * (30 + seconds)))
    time.sleep(
        min(WARM_SECONDS, seconds)
    )  # for the subscription to be in force; the publisher waits as long again
    print("ready", flush=True)
    received, expected, reordered = 0, 0, 0
    while True:
        topic, _, data = subscriber.recv_multipart()
        if topic == END:
            return {"received": received, "reordered": reordered}
        sequence = int.from_bytes(data[:8])
        reordered += sequence < expected
        expected = sequence + 1
        received += 1


if __name__ == "__main__":
    main()
