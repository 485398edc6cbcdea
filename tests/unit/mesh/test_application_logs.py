"""mesh/telemetry/handlers.py: whether the application has chosen where logs go."""

import logging

import pytest

from mesh.telemetry.handlers import OutputHandler, application_logs


@pytest.mark.parametrize(
    ("handlers", "chosen"),
    [
        ([], False),
        ([OutputHandler()], False),
        ([logging.NullHandler()], False),  # libraries add it, so that logging does not complain
        ([logging.NullHandler(), OutputHandler()], False),
        ([logging.StreamHandler()], True),
        ([logging.NullHandler(), logging.StreamHandler()], True),
    ],
)
def test_handlers_of_the_root_logger_that_write_are_the_applications(monkeypatch, handlers, chosen):
    monkeypatch.setattr(logging.root, "handlers", handlers)
    assert application_logs() is chosen
