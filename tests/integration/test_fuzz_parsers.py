"""A short run of scripts/fuzz_parsers.py over all parsers; and its judge."""

import importlib.util
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has no wheel here (it has for CPython 3.11 to 3.14 on x86-64 Linux)",
)


def fuzz(*arguments):
    command = [sys.executable, "scripts/fuzz_parsers.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=560)


def test_no_parser_breaks_in_a_short_run_that_follows_coverage():
    done = fuzz("--together", "--runs", "60000", "--seed", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Done 60000 runs" in done.stdout


def test_a_parser_that_breaks_is_found_and_named(tmp_path):
    script = (
        "import sys; sys.path.insert(0, '.'); sys.path.insert(0, 'scripts')\n"
        "import fuzz_parsers\n"
        "from tests.support.parsers import BY_PARSER\n"
        "BY_PARSER['vsn'].raises = ()\n"
        f"sys.argv = ['x', '--child', 'vsn', '--runs', '5000', '--corpus', {str(tmp_path)!r}]\n"
        "fuzz_parsers.main()\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=560)
    assert done.returncode != 0
    assert "RemoteProtocolError" in done.stdout + done.stderr
    assert list(tmp_path.glob("vsn/broken-*"))


def test_an_unknown_parser_is_named():
    done = fuzz("--parser", "xml")
    assert done.returncode == 1
    assert "no parser 'xml'" in done.stderr
