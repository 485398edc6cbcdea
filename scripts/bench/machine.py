"""Where and when something was measured."""

import os
import platform
import time
from typing import Any


def machine() -> dict[str, Any]:
    """For a report."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
    }
