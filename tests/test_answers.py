"""docs/protocol.md §1.3 and §1.4 name the statuses and close codes that the code answers with, and no others."""

import ast
import re
from http import HTTPStatus
from pathlib import Path

from mesh.errors import CloseCode
from mesh.gateway.transports.websocket.connection import LIMIT_CODES
from mesh.gateway.transports.zeromq.messages import UNKNOWN

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/protocol.md").read_text()
REFUSALS = {"BodyError", "HeadError", "HTTPError", "RefusedError", "RequestError", "_refuse", "set_status"}
"""What is called with a status as its first argument."""
TORNADOS = {100, 206, 301, 304, 405, 416}
"""Answered by Tornado itself: `Expect`, static files, methods that a handler does not have."""
SUCCESS = {101, 200}
"""Written without one of REFUSALS."""
OVER_ZEROMQ = {CloseCode.TRY_AGAIN_LATER, UNKNOWN}


def section(title):
    return re.search(rf"^### [\d.]+ {title}\n(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)[1]


def statuses_in(path):
    """The statuses in calls of REFUSALS, also in `404 if … else …`."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and call.args:
            name = getattr(call.func, "id", getattr(call.func, "attr", None))
            if name in REFUSALS:
                for each in ast.walk(call.args[0]):
                    if isinstance(each, ast.Constant) and isinstance(each.value, int):
                        yield each.value


def test_the_statuses_are_those_of_the_code():
    files = [*(ROOT / "gateway/http").glob("*.py"), *(ROOT / "gateway/transports").rglob("*.py")]
    answered = {status for path in files for status in statuses_in(path)}
    assert {400, 403, 404, 408, 413, 414, 431, 500, 501, 503, 505} <= answered
    cells = re.findall(
        r"^\|(?:[^|]*\|)?? ((?:\d{3}(?:, )?)+) \|", section("Answers over HTTP"), re.MULTILINE
    )
    documented = {int(status) for cell in cells for status in cell.split(", ")}
    assert documented == answered | TORNADOS | SUCCESS
    assert documented <= set(HTTPStatus)


def test_the_close_codes_are_those_of_the_code():
    rows = re.findall(r"^\| (\d{4})\b[^|]*\|([^|]*)\| ([^|]*) \|$", section("Close codes"), re.MULTILINE)
    assert {int(code) for code, _, _ in rows} == set(CloseCode) | {UNKNOWN}
    assert {int(code) for code, when, _ in rows if "ZeroMQ only" in when} == OVER_ZEROMQ
    assert {int(code) for code, _, reason in rows if reason != "none"} == LIMIT_CODES | OVER_ZEROMQ
