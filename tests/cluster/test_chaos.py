"""Short runs of scripts/chaos.py: every kind of node is killed under load, and nothing is lost.

If all workers die at once, histories are lost: the clients that recover must have been told so.
"""

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.until import LONG


@pytest.mark.parametrize(
    ("seconds", "faults"),
    [(8, ["kill", "restart"]), (3, ["roll"]), (5, ["wipe"])],
    ids=["nodes die", "rolling restart", "all workers die at once"],
)
def test_nothing_is_lost_doubled_or_misordered(tmp_path, seconds, faults):
    result = tmp_path / "chaos.json"
    command = [
        "scripts/chaos.py",
        f"--seconds={seconds}",
        "--seed=7",
        f"--json={result}",
        "--faults",
        *faults,
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=LONG
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    chaos = json.loads(result.read_text())
    for publisher in ("bus", "pushes"):
        assert chaos["publishers"][publisher]["delivered"] > 100
    assert chaos["worst_gap_ms"], "something was done to somebody"
    recovering = chaos["recovering"]
    assert recovering["delivered"] > 500
    assert sum(recovering["disturbances"].values()) > 5
    assert (recovering["told"] > 0) == ("wipe" in faults)
