"""A real Redis or Valkey server, which tests kill, freeze and restart, and a RedisStore on it."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError
from mesh.history.contract import Entry
from mesh.history.redis_store import RedisStore
from mesh.protocol.messages import JSON
from mesh.settings.history import HistorySettings
from mesh.settings.secret import Secret
from tests.support.until import PATIENCE, until, until_sync

PROGRAMS = [name for name in ("redis-server", "valkey-server") if shutil.which(name)]
"""The servers that are installed. `scripts/test.sh` installs the first."""


class RedisServer:
    """A server on a Unix socket, in a directory of its own; `options` are those of its command line."""

    def __init__(self, directory, *options, program="redis-server"):
        self.directory = directory
        self.path = directory / "socket"
        self.url = f"unix://{self.path}"
        self.options = options or ("--save", "", "--appendonly", "no")
        self.program = program
        self.popen = None

    def start(self):
        self.popen = subprocess.Popen(
            [
                self.program,
                *("--port", "0", "--unixsocket", self.path, "--dir", self.directory),
                *("--logfile", self.directory / "log", *self.options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        until_sync(self._answers)

    def command(self, *words):
        """Return the beginning of the answer to a command, as Redis encodes it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.path))
            words = [each if isinstance(each, bytes) else str(each).encode() for each in words]
            connection.sendall(
                b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in words)
            )
            return connection.recv(1_000_000)

    def _answers(self):
        assert self.popen.poll() is None, (self.directory / "log").read_text()
        with contextlib.suppress(OSError):
            return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))
        return False

    def kill(self):
        self.popen.kill()
        self.popen.wait(PATIENCE)

    def freeze(self):
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.popen.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(directory, *options, program="redis-server"):
    """A running server; killed at the end."""
    directory.mkdir(exist_ok=True)
    server = RedisServer(directory, *options, program=program)
    server.start()
    try:
        yield server
    finally:
        server.kill()


# A store under test

TOPIC = "room:1"
KEY = "channelmesh:history:room:1"
HISTORY = History(messages=100, seconds=300, bytes=100_000)
AOF = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
SNAPSHOTS = ("--save", "3600 1", "--appendonly", "no")


def settings(url, **given):
    return HistorySettings(store="redis", redis_url=Secret(url), **given)


def run(scenario, server, **given):
    """Run a scenario with a store, which is closed at the end."""

    async def main():
        async with asyncio.timeout(PATIENCE):
            store = RedisStore(settings(server.url, **given))
            try:
                await scenario(store)
            finally:
                await store.aclose()

    asyncio.run(main())


def entry(offset, data=b"{}"):
    return Entry(offset, "e", JSON, data, "n1", offset, time.time())


async def append(store, *entries, topic=TOPIC):
    """Append, and return whether the entries were stored."""
    told = []
    store.append(topic, entries, told.append)
    await until(lambda: told)
    return told == [True]


async def opened(store, topic=TOPIC):
    """The position of a topic, as soon as the server can be used."""
    while True:
        try:
            return await store.open(topic, HISTORY)
        except HistoryUnavailableError:
            await until(lambda: not store.problem())
