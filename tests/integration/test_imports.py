"""What the public names load."""

import subprocess
import sys


def test_what_applications_import_loads_neither_zmq_nor_tornado_nor_asyncio():
    code = """if True:
        import sys, mesh
        for name in set(mesh.__all__) - {"connect"}:
            getattr(mesh, name)
        assert "mesh.app.channel" in sys.modules
        print([m for m in ("zmq", "tornado", "asyncio") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
