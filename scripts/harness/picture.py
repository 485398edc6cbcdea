"""Imports matplotlib, which only plots need."""

import importlib
import importlib.util
import sys
from typing import Any


def check() -> None:
    """Exit with an error if matplotlib is missing, before hours of measuring."""
    if importlib.util.find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib, which is not installed: pip install matplotlib")


def pyplot() -> Any:
    """Return matplotlib.pyplot, set up to draw into files."""
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")
