"""tests/vectors replayed in another language, with nothing of ours."""

import subprocess
from pathlib import Path

from tests.support.until import LONG

HERE = Path(__file__).parent


def test_node_reads_and_writes_the_same_bytes(installed):
    done = subprocess.run(
        ["node", "--test", HERE / "vectors" / "replay.test.mjs"],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
