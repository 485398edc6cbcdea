"""One HTTP request."""

import json
import urllib.error
import urllib.request

from tests.support.until import PATIENCE


def request(url, payload=None, method=None):
    """(status, body as text); an object is sent as JSON by POST."""
    data = None if payload is None else json.dumps(payload).encode()
    made = urllib.request.Request(url, data, method=method or ("GET" if data is None else "POST"))
    try:
        with urllib.request.urlopen(made, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def broadcast(base, topic, event, payload):
    """`POST /broadcast` of the conformance application."""
    return request(f"{base}/broadcast?topic={topic}&event={event}", payload)
