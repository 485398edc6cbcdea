"""Two pages in headless Chromium chat through two different gateways."""

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import cluster
from tests.support.until import PATIENCE

pytestmark = pytest.mark.usefixtures("browser")

SCRIPT = Path(__file__).parent / "browser" / "chat.mjs"


def test_phoenix_js_falls_back_to_long_poll_in_a_browser(servers):
    _, url = servers("tests.support.fallback_app:endpoint")
    page = subprocess.run(
        ["node", SCRIPT.with_name("fallback.mjs"), url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert page.returncode == 0, page.stdout + page.stderr


def test_two_pages_chat_through_two_gateways_also_after_a_worker_was_killed(tmp_path):
    with cluster(tmp_path, "examples.chat:endpoint") as running:
        log = (tmp_path / "browser.log").open("w+")
        pages = subprocess.Popen(
            ["node", SCRIPT, *running.urls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with log, pages:
            try:
                ready = pages.stdout.readline()
                assert ready == "kill a worker\n", Path(log.name).read_text()
                for index in (0, 1):
                    old = running.kill("workers", index)
                    running.wait_restarted("workers", index, old)
                pages.stdin.write("\n")
                pages.stdin.flush()
                assert pages.wait(PATIENCE) == 0, Path(log.name).read_text()
            finally:
                pages.kill()
