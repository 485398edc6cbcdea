"""gateway/transports/websocket/upgrade.py: the sentences of a failed upgrade, the accept key of a good one."""

import pytest
from tornado.httputil import HTTPHeaders

from mesh.gateway.transports.websocket.upgrade import problem, response

GOOD = {
    "Host": "h",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def test_a_good_request_has_no_problem_and_the_key_of_the_rfc():
    assert problem(HTTPHeaders(GOOD)) is None
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response(HTTPHeaders(GOOD))


@pytest.mark.parametrize(
    ("header", "value", "sentence"),
    [
        ("Connection", None, "'connection' header must contain 'upgrade', got []"),
        ("Upgrade", "h2c", "'upgrade' header must contain 'websocket', got [\"h2c\"]"),
        ("Sec-WebSocket-Key", None, "'sec-websocket-key' header is absent"),
        ("Sec-WebSocket-Version", "8", "'sec-websocket-version' header must equal '13', got [\"8\"]"),
        ("Host", None, "'host' header is absent"),
    ],
)
def test_a_header_that_is_missing_or_wrong_is_named(header, value, sentence):
    headers = HTTPHeaders(GOOD)
    del headers[header]
    if value is not None:
        headers[header] = value
    assert problem(headers) == sentence
