"""A short run of scripts/fuzz.py: broken messages at every port, and bystanders notice nothing."""

import subprocess
import sys

from tests.support.processes import ROOT


def test_bystanders_notice_nothing_of_broken_messages_at_every_port():
    command = [sys.executable, "scripts/fuzz.py", "--messages", "6000", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("alive: True") == 3
