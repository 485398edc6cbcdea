"""Small runs of scripts/bench.py, bytecodes.py and growth.py: every kind of row works. Nothing is timed."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, serve
from tests.support.until import LONG, PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def measure(script, tmp_path, *arguments):
    """What it wrote as JSON."""
    result = tmp_path / "result.json"
    command = [sys.executable, f"scripts/{script}.py", "--seconds=0.5", "--most=5", f"--json={result}"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(result.read_text()), done.stdout


RUNS = {
    "bare": {"40 per second": ["lat_ms_p99"]},  # its CPU time may round to nothing
    "embedded": {
        "fanout 1 x 1000, window 8": ["msgs_per_server_cpu_s", "server_us_per_msg", "lat_ms_p99"],
        "hold 10000": ["kb_per_conn", "join_cpu_ms", "joins_per_s"],
        "msgpack": ["lat_ms_p99", "client_cpu_s"],
    },
    "embedded, other transports": {
        "tls": ["lat_ms_p99"],
        "zeromq": ["lat_ms_p99"],
        "longpoll": ["lat_ms_p99"],
    },
    "embedded, joins": {
        "presence": ["presence_cpu_ms", "diff_bytes", "kb_in_per_join"],
        "topics": ["kb_per_topic", "topic_join_cpu_ms"],
        "stalls": ["stall_ms", "stalls_over_20_ms", "lat_ms_p99"],
    },
    "embedded, histories": {
        "history: 5000 broadcasts per second of channels": ["kept_us", "plain_us", "kept_per_plain"],
        "history: fanout 1 x 100, 40 per second, with positions": ["lat_ms_p99"],
    },
    "cluster1": {
        "history: 5000 broadcasts per second of another node": ["kept_us", "plain_us", "kept_us_worker"],
        "proxy": ["bus_per_s", "dropped"],
        "death: 10000 channels, 1 to a topic, 0": ["error_ms_p99", "error_cpu_ms", "lost"],
    },
    "cluster2x2": {"history: 10000 clients recover": ["recovered", "recovery_cpu_ms", "recovery_s"]},
}
"""Of each run: the rows, and figures of each row. The generator is compiled once for all rows of a run."""


@pytest.mark.parametrize("run", RUNS)
def test_each_kind_of_row_reports_its_figures(tmp_path, run):
    rows = RUNS[run]
    server = run.partition(",")[0]
    report, _ = measure("bench", tmp_path, *(f"--rows={row}" for row in rows), f"--servers={server}")
    results = report["results"]
    assert len(results) == len(rows)
    for part, figures in rows.items():
        (result,) = [each for each in results if part in each["row"]]
        assert result["ok"], result
        assert set(figures) <= set(result), result
    assert report["machine"]["python"]


def test_a_checkout_and_a_peer_are_measured_in_turn(tmp_path):
    with serve(tmp_path, "examples.conformance:endpoint") as (process, url):
        report, printed = measure(
            "bench", tmp_path, "--rows=fanout 100", "--servers=embedded",
            f"--compare={ROOT}", f"--url={url}", f"--pid={process.pid}", "--repeat=2",
        )  # fmt: skip
    seen = [(each["row"], each["turn"], each["kind"], each["version"]) for each in report["results"]]
    assert seen == [
        ("fanout 100 x 10, window 1", turn, *target)
        for turn in (0, 1)
        for target in (("embedded", "this"), ("embedded", ROOT.name), ("url", ""))
    ]
    assert f"/ {ROOT.name}" in printed
    assert "of Phoenix's" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--servers=clusters"], "there is no server 'clusters'; want bare, embedded or cluster1"),
        (["--rows=nothing"], "no row's name contains nothing; the rows are:"),
        (["--compare=docs"], "--compare docs is not a checkout of this project"),
        (["--url=http://"], "'http://' is not a URL"),
    ],
)
def test_wrong_options_get_a_sentence(arguments, sentence):
    command = [sys.executable, "scripts/bench.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss (iproute2)")
def test_growth_finds_that_each_gateway_gets_each_broadcast_once(tmp_path):
    report, _ = measure("growth", tmp_path, "--parts=topics,bus", "--most=2")
    assert [each["topics"] for each in report["results"]["topics"]] == [1]
    bus = report["results"]["bus"]
    assert [each["gateways"] for each in bus] == [1, 2]
    assert all(round(copies) == 1 for each in bus for copies in each["copies"])


def test_bytecodes_of_two_checkouts_are_counted():
    command = [sys.executable, "scripts/bytecodes.py", "--repeat=1", "--share=0.1", f"--compare={ROOT}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    title, *rows = done.stdout.splitlines()
    assert title.split()[-5:] == ["highest", "other", "this", "/", "other"]
    names = [row[:44].strip() for row in rows]
    assert [name.split(":")[0].split(",")[0] for name in names[:4]] == [
        "echo",
        "the same",
        "fan-out",
        "connect",
    ]
    assert names[4:] == [
        "fan-out to 10 without history",
        "a broadcast without history",
        "fan-out to 10 with history",
        "a broadcast with history",
        "fan-out to 10 with positions",
        "a broadcast with positions",
        "connect, join a topic with history, close",
        "the same, and recover 20",
    ]
    for row in rows:
        assert 0.5 < float(row.split()[-1]) < 2.0, "it is the same code"
        assert int(row.split()[-2].replace(",", "")) > 500
