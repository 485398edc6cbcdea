"""The conformance application where no WebSocket gets through, and a page with phoenix.js."""

from pathlib import Path

from tornado.web import RequestHandler

from examples.conformance import BroadcastHandler, UserSocket, presence
from mesh import Endpoint, Mount

PHOENIX = Path(__file__).parents[1] / "clients" / "node_modules" / "phoenix" / "priv" / "static"


class Page(RequestHandler):
    def get(self):
        self.finish(
            '<!doctype html><script type=module>import * as p from "/js/phoenix.mjs"; window.phoenix = p</script>'
        )


endpoint = Endpoint(
    sockets={"/socket": Mount(UserSocket, websocket=False, longpoll=True)},
    http=[(r"/", Page), (r"/broadcast", BroadcastHandler)],
    static={"/js": PHOENIX} if PHOENIX.is_dir() else {},
    presences=[presence],
)
