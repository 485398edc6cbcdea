"""A short run of scripts/chaos.py: every kind of node is killed under load, and nothing is lost."""

import json
import subprocess
import sys

from tests.support.processes import ROOT


def test_nothing_is_lost_doubled_or_misordered_while_nodes_die(tmp_path):
    result = tmp_path / "chaos.json"
    command = [
        "scripts/chaos.py",
        "--seconds=10",
        "--seed=7",
        f"--json={result}",
        "--faults",
        "kill",
        "restart",
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=170
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    chaos = json.loads(result.read_text())
    assert chaos["publishers"]["bus"]["delivered"] > 500
    assert chaos["publishers"]["pushes"]["delivered"] > 500
    assert chaos["worst_gap_ms"], "somebody was killed"
