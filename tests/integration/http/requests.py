"""Names and requests that the tests of the HTTP side share."""

import json

from tests.support.raw_http import ask

APP = "tests.support.http_app:endpoint"


KEY = "a-key-of-20-letters-or-so"


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def post_api(url, action, body, path="/api"):
    data = json.dumps(body).encode()
    return await ask(url, f"{path}/{action}", "POST", [f"Authorization: Bearer {KEY}"], data)
