"""mesh serve --reload: a changed application runs; one that cannot be imported waits for the next change."""

import contextlib
import os
import re
import signal
import subprocess
import sys

from tests.support.http import request
from tests.support.until import PATIENCE, until_sync

APPLICATION = """
from tornado.web import RequestHandler
from mesh import Endpoint

class Hello(RequestHandler):
    def get(self):
        self.finish("{text}")

endpoint = Endpoint({{}}, http=[("/", Hello)])
"""


def heed_ctrl_c():
    """What a shell runs in the background ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def reloading(directory):
    log = directory / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh", "serve", "app:endpoint", "--port", "0", "--reload"],
            cwd=directory,
            env={**os.environ, "COLUMNS": "300"},
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=heed_ctrl_c,
        )
    try:
        yield process, log.read_text
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)


def test_what_is_changed_runs(tmp_path):
    app = tmp_path / "app.py"
    app.write_text(APPLICATION.format(text="one"))
    with reloading(tmp_path) as (process, log):

        def serves(text):
            urls = re.findall(r"http://[^\s/]+:\d+", log())
            with contextlib.suppress(OSError):
                return urls and request(urls[-1])[1] == text

        until_sync(lambda: serves("one"))
        app.write_text(APPLICATION.format(text="two"))
        until_sync(lambda: serves("two"))
        assert "changed: app.py" in log()
        app.write_text("def (:\n")
        until_sync(lambda: "SyntaxError" in log())
        app.write_text(APPLICATION.format(text="three"))
        until_sync(lambda: serves("three"))
        (tmp_path / "notes.txt").write_text("no Python")
        starts = log().count("application")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert log().count("application") == starts
        assert "Traceback" not in log()
        assert "KeyboardInterrupt" not in log()
