"""An application that prints, logs as LOGGING says, and blocks or crashes when it is asked to."""

import asyncio
import contextlib
import logging
import logging.config
import os
import threading
import time

from mesh import Channel, Endpoint, Mount, SocketHandler, ok, on

if os.environ.get("LOGGING") == "dictConfig":
    logging.config.dictConfig({
        "version": 1,
        "formatters": {"own": {"format": "OWN %(levelname)s %(name)s %(message)s"}},
        "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
        "root": {"handlers": ["own"], "level": os.environ.get("LOGGING_LEVEL", "INFO")},
    })  # fmt: skip
if os.environ.get("LOGGING") == "by chance":
    logging.warning("logged at import")
if os.environ.get("SLOW_IMPORT"):
    print("importing", flush=True)
    try:
        time.sleep(60)
    except BaseException:  # an application that swallows whatever comes
        if os.environ["SLOW_IMPORT"] == "swallow":
            pass
        else:
            raise
print("printed at import")
if os.environ.get("PROGRAM"):
    os.system("echo printed by a program; echo and an error of it >&2")
    os.write(1, b"written without sys.stdout\n")
if os.environ.get("THREAD"):
    threading.Thread(target=time.sleep, args=(600,)).start()


class Room(Channel):
    @on("thread")
    async def occupy_a_thread(self, payload):
        os.write(2, b"blocks\n")
        await asyncio.to_thread(time.sleep, 600)

    @on("ignore")
    async def ignore_cancellation(self, payload):
        os.write(2, b"blocks\n")
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(600)

    def handle_in(self, event, payload):
        if event == "sleep":
            os.write(2, b"blocks\n")
            time.sleep(60)
        if event == "compute":  # in C, which never lets Python's signal handlers run
            os.write(2, b"blocks\n")
            sum(range(10**12))
        if event == "print":
            print("printed by a handler")
            logging.getLogger("shop").warning("logged by the application")
        if event == "crash":
            raise ValueError("crashed")
        return ok()


class Socket(SocketHandler):
    channels = {"room:*": Room}

    def connect(self, params, info):
        if "raise" in params:
            raise ValueError(f"no such user: {info}")


endpoint = Endpoint(
    sockets={
        "/socket": Mount(Socket, longpoll=True),
        "/by/:token/socket": Mount(Socket, longpoll=True),
    }
)
