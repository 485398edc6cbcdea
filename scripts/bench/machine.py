"""Describes the machine and the time of a measurement."""

import os
import platform
import time
from typing import Any


def machine() -> dict[str, Any]:
    """Return the description for a report."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
    }
