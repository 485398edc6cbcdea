"""Starts a cluster on this machine: the same as `mesh cluster`."""

from mesh.nodes.cli import run_command

if __name__ == "__main__":
    run_command("cluster")
