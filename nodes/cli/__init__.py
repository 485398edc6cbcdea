"""The `mesh` command: one file for each group of commands, and `main.py`, which runs one."""

from mesh.nodes.cli.main import main, run_command

__all__ = ["main", "run_command"]
