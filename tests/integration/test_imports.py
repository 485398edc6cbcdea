"""What `import mesh` loads."""

import subprocess
import sys


def test_importing_mesh_loads_neither_zmq_nor_tornado_nor_asyncio():
    code = "import sys, mesh; print([m for m in ('zmq', 'tornado', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
