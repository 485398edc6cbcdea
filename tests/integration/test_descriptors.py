"""The table of descriptors is large enough before there are threads."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.nodes.runtime.descriptors import MAX_DESCRIPTORS

SIZES = """
from pathlib import Path
from mesh.nodes.runtime.descriptors import enlarge_table
import os, re, resource

resource.setrlimit(resource.RLIMIT_NOFILE, (int(%r), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
before = len(os.listdir("/proc/self/fd"))
enlarge_table()
assert len(os.listdir("/proc/self/fd")) == before
print(re.search(r"FDSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not tell")
@pytest.mark.parametrize("limit", [500, 4_000])
def test_the_table_has_room_for_all_that_are_allowed_and_none_is_left_open(limit):
    assert limit <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert limit <= MAX_DESCRIPTORS
    ran = subprocess.run([sys.executable, "-c", SIZES % limit], capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= limit
