"""examples/python_client chats with the real browser page; mesh.client's Presence is phoenix.js's."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.client.presence import sync_diff, sync_state
from tests.support.pool import zeromq
from tests.support.processes import ROOT
from tests.support.until import PATIENCE, until_sync

HERE = Path(__file__).parent


@pytest.mark.usefixtures("browser")
@pytest.mark.parametrize("transport", ["websocket", "zeromq"])
def test_a_terminal_chats_with_a_browser(servers, tmp_path, transport):
    process, url = servers("examples.chat:endpoint")
    address = zeromq(process) if transport == "zeromq" else url.replace("http", "ws") + "/socket"
    room = f"python-{transport}"  # a room of its own: it keeps what was said
    program = ROOT / "examples/python_client/chat.py"
    command = [sys.executable, program, address, "--user", "Ana", "--room", room]
    out = tmp_path / "terminal.log"
    printed = out.open("w")
    log = (tmp_path / "browser.log").open("w+")
    terminal = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=printed, text=True, cwd=ROOT)
    page = subprocess.Popen(["node", HERE / "browser/talk.mjs", url, room], stdout=log, stderr=log)
    with log, printed, terminal, page:
        try:
            until_sync(lambda: "Bo: hello\n" in out.read_text() or page.poll() is not None)
            assert "Bo: hello\n" in out.read_text(), Path(log.name).read_text()
            assert "* here: Ana, Bo\n" in out.read_text()
            terminal.stdin.write("hi from Python\n")
            terminal.stdin.flush()
            assert page.wait(PATIENCE) == 0, Path(log.name).read_text()
            terminal.stdin.close()
            assert terminal.wait(PATIENCE) == 0
            assert "Ana: hi from Python\n" in out.read_text()
        finally:
            for each in (terminal, page):
                if each.poll() is None:
                    each.kill()


def stories(seed):
    """Random presence states and diffs: [["state" or "diff", payload], …] each."""
    chance = random.Random(seed)
    for _ in range(300):
        refs = 0

        def some():
            nonlocal refs
            made = {}
            for _ in range(chance.randrange(4)):
                metas = []
                for _ in range(chance.randrange(1, 3)):
                    refs += 1
                    metas.append(
                        {"phx_ref": str(chance.choice([refs, refs, refs, chance.randrange(refs + 1)]))}
                    )
                made[f"k{chance.randrange(3)}"] = {"metas": metas, "name": chance.randrange(9)}
            return made

        yield [
            ["state", some()] if chance.random() < 0.2 else ["diff", {"joins": some(), "leaves": some()}]
            for _ in range(chance.randrange(1, 12))
        ]


def test_presence_is_that_of_phoenix_js_in_random_stories():
    seed = random.randrange(1_000_000)
    print("seed", seed)
    told = list(stories(seed))
    done = subprocess.run(
        ["node", HERE / "phoenix_js/presence_stories.mjs"],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    for story, theirs in zip(told, json.loads(done.stdout), strict=True):
        state, ours = {}, []
        for kind, payload in story:
            calls = []

            def joined(key, before, came, calls=calls):
                calls.append(["join", key, before and len(before["metas"]), came])

            def left(key, now, went, calls=calls):
                calls.append(["leave", key, now, went])

            state = (sync_state if kind == "state" else sync_diff)(state, payload, joined, left)
            ours.append([state, calls])
        assert ours == theirs
