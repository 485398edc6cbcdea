"""Processes: how each kind of node starts and stops, and the `mesh` command."""
