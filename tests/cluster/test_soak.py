"""Short runs of scripts/soak.py: clients come and go, and nothing of them is left."""

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.until import LONG


def soak(directory, *arguments):
    file = directory / "result.json"
    command = [sys.executable, "scripts/soak.py", "--seed", "7", "--json", str(file), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@pytest.mark.parametrize("mode", [(), ("--embedded",)], ids=["cluster", "embedded"])
def test_after_500_clients_on_presence_topics_only_the_observer_is_left(tmp_path, mode):
    result = soak(tmp_path, "--cycles", "500", "--kinds", "presence", *mode)
    assert (result["connections"], result["joins"]) == (500, 1_000)
    assert result["wrong"] == []


def test_after_slow_fast_and_hostile_clients_only_the_observer_is_left(tmp_path):
    result = soak(tmp_path, "--cycles", "500")
    assert sum(result["lives"].values()) == 500
    assert len(result["lives"]) == 9, "every kind came"
    assert result["wrong"] == []


def test_what_is_left_behind_is_noticed(tmp_path):
    """The judge itself: a client that stays makes the run fail, and is named."""
    script = (
        "import asyncio, sys; sys.path.insert(0, 'scripts'); import soak\n"
        "from harness.websocket import WebSocket\n"
        "from harness import crowd\n"
        "kept = []\n"
        "async def stays(crowd):\n"
        "    kept.append(await crowd.connect('vsn=2.0.0&user_id=ghost'))\n"
        "    await crowd.join(kept[0], 'presence:shared-0')\n"
        "crowd.KINDS['presence'] = stays\n"
        "soak.SETTLE_SECONDS = 3\n"
        "sys.argv = ['soak.py', '--cycles', '1', '--clients', '1', '--kinds', 'presence']\n"
        "soak.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gateway: open_connections is 2, not 1" in done.stderr
    assert "presence: ghost on presence:shared-0" in done.stderr
