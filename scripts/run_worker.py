"""Starts a worker: the same as `mesh worker`."""

from mesh.nodes.cli import run_command

if __name__ == "__main__":
    run_command("worker")
