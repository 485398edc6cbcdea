"""Node, phoenix.js, a browser and a C compiler, as they come from npm and apt."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.c_client import PROGRAMS, Build
from tests.support.until import PATIENCE

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def installed():
    missing = [] if (HERE / "node_modules" / "phoenix").is_dir() else ["npm ci --prefix tests/clients"]
    missing += [
        f"install {each}"
        for each in ("node", "chromium", "cc", "make", "pkg-config")
        if not shutil.which(each)
    ]
    if missing:
        pytest.fail(f"these tests need: {', '.join(missing)} (scripts/test.sh does all of it)")


@pytest.fixture(scope="session")
def c_build(request, tmp_path_factory):
    """Compiles programs in C, each once in a run of any number of processes."""
    directory = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        directory = directory.parent  # of all processes
    return Build(directory / "c")


@pytest.fixture(scope="session")
def driver_program(c_build):
    """tests/clients/c/driver.c, compiled."""
    return c_build.program("driver", PROGRAMS / "driver.c")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One Chromium; while it runs, the scripts of tests/clients/browser connect to it by $BROWSER."""
    log = (tmp_path_factory.mktemp("browser") / "browser.log").open("w+")
    command = ["node", HERE / "browser" / "server.mjs"]
    with (
        log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("ws://"), Path(log.name).read_text()
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("BROWSER", address)
                yield
            server.stdin.close()
            assert server.wait(PATIENCE) == 0, Path(log.name).read_text()
        finally:
            server.kill()
