"""matplotlib, for those who have it; nothing else needs it."""

import importlib
import importlib.util
import sys
from typing import Any


def check() -> None:
    """End the program with a sentence if there is none: before hours of measuring."""
    if importlib.util.find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib, which is not installed: pip install matplotlib")


def pyplot() -> Any:
    """matplotlib.pyplot, which draws into files alone."""
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")
