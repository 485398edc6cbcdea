"""A short run of scripts/hostile.py: what each hostile input costs its sender, the nodes and a bystander."""

import json
import subprocess
import sys

from tests.support.processes import ROOT
from tests.support.until import LONG


def hostile(tmp_path, *arguments):
    file = tmp_path / "result.json"
    command = [sys.executable, "scripts/hostile.py", *arguments, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


def test_hostile_inputs_cost_their_senders_only(tmp_path):
    names = ["routing ids", "unreadable batch", "bad command", "payloads", "fragments", "bodies", "joins"]
    only = [argument for name in names for argument in ("--only", name)]
    results = hostile(tmp_path, "--scale", "0.1", *only)
    assert [result["input"] for result in results] == names
    assert all(result["asked"] for result in results), "a bystander was there"


def test_a_worker_is_started_again_although_the_output_takes_nothing(tmp_path):
    names = ["full disk", "reader gone", "nobody reads"]
    results = hostile(tmp_path, *(argument for name in names for argument in ("--only", name)))
    assert [(result["input"], result["wrong"]) for result in results] == [
        (f"output: {name}", []) for name in names
    ]
