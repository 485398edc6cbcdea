"""What the unit tests share."""

import pytest

from mesh.telemetry import logs


@pytest.fixture
def log_lines(monkeypatch):
    """What is logged during the test, at every level: (logger, level, event, fields)."""
    lines = []
    # Not `logs.set_destination`: it cannot tell how logging was configured before, to restore that.
    monkeypatch.setattr(logs, "_min_level", 0)
    monkeypatch.setattr(logs, "_gate", None)
    monkeypatch.setattr(logs, "_sink", lambda *line: lines.append(line))
    return lines
