"""The parameters of a connection: what mesh.client and clients/js write is what phoenix.js writes."""

import json
import subprocess
from collections import UserString
from datetime import UTC, date, datetime
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from mesh.client import Client
from mesh.client.query_strings import to_strings
from mesh.client.websocket import url_of
from mesh.errors import SettingsError
from mesh.gateway.http.params import decode_query
from tests.support.pool import zeromq
from tests.support.until import LONG
from tests.support.websocket import run

SCRIPT = Path(__file__).parent / "js" / "params.mjs"


class Color(Enum):
    RED = "red"
    NONE = None


class Size(IntEnum):
    LARGE = 3


class Word(StrEnum):
    YES = "yes"


TABLE = [
    ({"a": "b"}, '{a: "b"}'),
    ({"a": None}, "{a: null}"),
    ({"a": None, "b": "1"}, '{a: null, b: "1"}'),
    ({"a": {"b": None}, "c": "1"}, '{a: {b: null}, c: "1"}'),
    ({"a": [None, "x", None]}, '{a: [null, "x", null]}'),
    ({"a": {}, "b": [], "c": [[]], "d": {"e": {}}}, "{a: {}, b: [], c: [[]], d: {e: {}}}"),
    ({"a": ""}, '{a: ""}'),
    ({"a": True, "b": False}, "{a: true, b: false}"),
    ({"a": 1, "b": -1, "c": 0}, "{a: 1, b: -1, c: 0}"),
    ({"a": 1.0, "b": -0.0, "c": 1.5, "d": 100.0}, "{a: 1.0, b: -0.0, c: 1.5, d: 100.0}"),
    ({"a": 1e21, "b": 1e20, "c": 1.5e300}, "{a: 1e21, b: 1e20, c: 1.5e300}"),
    ({"a": 1e-6, "b": 1e-7, "c": 1.25e-9, "d": -0.5}, "{a: 1e-6, b: 1e-7, c: 1.25e-9, d: -0.5}"),
    ({"a": 123456789.125, "b": 0.1, "c": 5e-324}, "{a: 123456789.125, b: 0.1, c: 5e-324}"),
    ({"a": float("nan"), "b": float("inf")}, "{a: NaN, b: Infinity}"),
    ({"a": -float("inf"), "b": 2**53}, "{a: -Infinity, b: 2 ** 53}"),
    ({"a": {"b": {"c": "1"}}}, '{a: {b: {c: "1"}}}'),
    ({"a": ["x", ["y", {"z": True}]]}, '{a: ["x", ["y", {z: true}]]}'),
    ({"a": ("x", "y")}, '{a: ["x", "y"]}'),
    ({2: "x", 1.5: "y", None: "z"}, '{2: "x", "1.5": "y", null: "z"}'),
    ({False: "x"}, "{false: 'x'}"),
    ({"ü & =": "ä+b c%", "a[b]": "c"}, '{"ü & =": "ä+b c%", "a[b]": "c"}'),
    ({"a": "-_.!~*'()/?:@,;$#\n\x00"}, r"""{a: "-_.!~*'()/?:@,;$#\n\x00"}"""),
    ({"a": "🦊", "b": "\u2028"}, r'{a: "🦊", b: "\u2028"}'),
    ({"a": Color.RED, "b": Color.NONE, "c": Size.LARGE, "d": Word.YES}, '{a: "red", c: 3, d: "yes"}'),
    ({Color.RED: 1, Word.YES: 2, Size.LARGE: 3}, "{red: 1, yes: 2, 3: 3}"),
]


@pytest.fixture(scope="module")
def in_javascript():
    expressions = json.dumps([expression for _, expression in TABLE])
    done = subprocess.run(["node", SCRIPT, expressions], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pieces(query):
    """phoenix.js writes nothing for null, between two `&`, and integers come first in its objects."""
    return sorted(each for each in query.split("&") if each and not each.startswith("vsn="))


@pytest.mark.parametrize("row", range(len(TABLE)))
def test_the_python_client_writes_what_phoenix_js_writes(in_javascript, row):
    params = TABLE[row][0]
    query = urlsplit(url_of("ws://host/socket", params)).query
    assert pieces(query) == pieces(in_javascript[row]["phoenix"])


@pytest.mark.parametrize("row", range(len(TABLE)))
def test_our_javascript_client_says_what_phoenix_js_says(in_javascript, row):
    made = in_javascript[row]
    assert decode_query(made["ours"]) == decode_query(made["phoenix"])


@pytest.mark.parametrize("row", range(len(TABLE)))
def test_over_zeromq_the_server_gets_what_a_query_string_brings(row):
    params = TABLE[row][0]
    if "a[b]" in params:
        return  # a name that nests in a query string only
    assert to_strings(params) == decode_query(urlsplit(url_of("ws://host/socket", params)).query)


def test_dates_and_ids_are_texts():
    given = {
        "day": date(2026, 1, 2),
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "id": UUID(int=1),
        "path": Path("/a"),
    }
    assert to_strings(given) == {
        "day": "2026-01-02",
        "time": "2026-01-02T03:04:05+00:00",
        "id": "00000000-0000-0000-0000-000000000001",
        "path": "/a",
    }


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"a": b"x"}, r"params\['a'\] is of type bytes, .* base64"),
        ({"a": {"b": [bytearray(b"x")]}}, r"params\['a'\]\['b'\]\['0'\] is of type bytearray"),
        ({b"a": "x"}, "a key of params is of type bytes"),
        ({"a": {1, 2}}, r"params\['a'\] is of type set"),
        ({"a": object()}, r"params\['a'\] is of type object"),
        ({"a": UserString("x")}, "of type UserString"),
    ],
)
def test_what_is_no_text_is_refused_by_name(params, named):
    with pytest.raises(SettingsError, match=named):
        to_strings(params)


def test_params_within_themselves_are_refused():
    params = {}
    params["a"] = params
    with pytest.raises(SettingsError, match="deep"):
        to_strings(params)


def test_a_parameter_that_is_none_does_not_reach_the_server_over_any_transport(servers):
    params = {"a": None, "b": {"c": None, "d": True}, "e": [None, 1.0], "f": 2}
    process, url = servers("tests.support.params_app:endpoint")

    async def scenario():
        for address in (url.replace("http", "ws") + "/socket", zeromq(process)):
            async with Client(address, params=params) as client:
                channel = await client.join("app:1")
                got = await channel.push("params")
            assert {key: got[key] for key in "abef" if key in got} == {
                "b": {"d": "true"},
                "e": {"1": "1"},
                "f": "2",
            }

    run(scenario())
