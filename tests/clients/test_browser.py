"""Pages in headless Chromium: they chat through two gateways, and show what was said before."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import cluster
from tests.support.until import PATIENCE

pytestmark = pytest.mark.usefixtures("browser")

SCRIPTS = Path(__file__).parent / "browser"


def test_phoenix_js_falls_back_to_long_poll_in_a_browser(servers):
    _, url = servers("tests.support.fallback_app:endpoint")
    page = subprocess.run(
        ["node", SCRIPTS / "fallback.mjs", url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert page.returncode == 0, page.stdout + page.stderr


@contextmanager
def script(tmp_path, name, *arguments):
    """Run a script of tests/clients/browser that asks for something by a line on stdout."""
    log = (tmp_path / f"{name}.log").open("w+")
    command = ["node", SCRIPTS / name, *arguments]
    with (
        log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as running,
    ):

        def asks(line):
            assert running.stdout.readline() == f"{line}\n", Path(log.name).read_text()

        try:
            yield asks
            running.stdin.write("\n")
            running.stdin.flush()
            assert running.wait(PATIENCE) == 0, Path(log.name).read_text()
        finally:
            running.kill()


def test_two_pages_chat_through_two_gateways_also_after_a_worker_was_killed(tmp_path):
    with (
        cluster(tmp_path, "examples.chat:endpoint") as running,
        script(tmp_path, "chat.mjs", *running.urls) as asks,
    ):
        asks("kill a worker")
        for index in (0, 1):
            old = running.kill("workers", index)
            running.wait_restarted("workers", index, old)


def test_a_reload_shows_the_last_messages_and_a_cut_misses_nothing(tmp_path):
    with (
        cluster(tmp_path, "examples.chat:endpoint") as running,
        script(tmp_path, "chat_history.mjs", *running.urls) as asks,
    ):
        asks("kill all workers")
        old = [running.kill("workers", index) for index in (0, 1)]
        for index, pid in enumerate(old):
            running.wait_restarted("workers", index, pid)
