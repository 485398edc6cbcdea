"""`python -m nodes` is the `mesh` command."""

from nodes.cli import main

main()
