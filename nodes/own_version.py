"""The version of Channelmesh; pyproject.toml reads it from here.

A constant: importlib.metadata takes about 30 ms of CPU time in the start of every node.
"""

VERSION = "0.1.0"
