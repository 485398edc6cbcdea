"""Node, phoenix.js, a browser and a C compiler, as they come from npm and apt."""

import shutil
from pathlib import Path

import pytest

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
