"""Starts a gateway: the same as `mesh gateway`."""

from mesh.nodes.cli import run_command

if __name__ == "__main__":
    run_command("gateway")
