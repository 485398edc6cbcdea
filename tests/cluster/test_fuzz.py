"""A short run of scripts/fuzz.py: broken messages at every port, and bystanders notice nothing."""

import json
import subprocess
import sys

from tests.support.processes import ROOT
from tests.support.until import LONG


def test_bystanders_notice_nothing_of_broken_messages_at_every_port(tmp_path):
    file = tmp_path / "result.json"
    command = [sys.executable, "scripts/fuzz.py", "--messages", "20000", "--seed", "4", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(file.read_text())
    assert len(result["thrown"]) == 8, "every port had its share"
    assert [node["alive"] for node in result["nodes"].values()] == [True] * 3
    assert all(each["asked"] > 20 for each in result["bystanders"].values())
