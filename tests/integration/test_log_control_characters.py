"""Control characters in what is logged, in every format, in a process of its own."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("format", ["console", "json", "logfmt", "the application's"])
def test_control_characters_are_escaped_in_every_log_format(format):
    code = """if True:
        import logging, sys
        from mesh.telemetry import get_logger
        from mesh.telemetry.configuration import configure_logging
        if sys.argv[1] not in ("console", "json", "logfmt"):
            logging.basicConfig(level=logging.DEBUG, format="%(message)s")
        configure_logging("debug", sys.argv[1], "n")
        evil = "\\x1b[2J\\x9b0m\\x07\\r\\x00\\x85\\u2028"
        log = get_logger("mesh.x")
        log.warning("a", topic=evil, params={evil: [evil]}, huge=10**10_000, data=evil.encode())
        logging.getLogger("tornado.general").warning("b %s", evil)
        try:
            raise ValueError(evil)
        except ValueError as error:
            log.error("c", exc_info=error)
            logging.getLogger("tornado.application").error("d", exc_info=True)
    """
    run = subprocess.run([sys.executable, "-c", code, format], capture_output=True, check=True, timeout=120)
    text = run.stderr.decode()
    assert not set(text) & set("\x1b\x9b\x07\r\x00\x85\u2028"), text
    assert text.count("x1b[2J") >= 6, text
    assert "an integer of" in text
    assert "Logging error" not in text
