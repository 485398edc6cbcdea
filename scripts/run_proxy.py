"""Starts a proxy: the same as `mesh proxy`."""

from mesh.nodes.cli import run_command

if __name__ == "__main__":
    run_command("proxy")
