"""mesh/bus/zeromq/proxy_connection.py: what stands in the way of a connection may pass, and is said once."""

import asyncio
import errno

import pytest
import zmq

from mesh import settings
from mesh.bus.zeromq import connect_failures
from mesh.bus.zeromq import proxy_connection as module
from mesh.bus.zeromq.connect_failures import ConnectFailures
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.errors import SettingsError
from mesh.zeromq import sockets
from tests.support.until import until

PROXY = "tcp://127.0.0.1:1"


class Publisher:
    def proxy_connected(self, connection): ...

    def proxy_lost(self, connection): ...


class Log:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda line, **fields: self.lines.append((level, line))

    @property
    def levels(self):
        return [level for level, line in self.lines if line == "cannot connect to the proxy"]


@pytest.fixture
def log(monkeypatch):
    made = Log()
    monkeypatch.setattr(connect_failures, "log", made)
    return made


@pytest.fixture
def made(monkeypatch):
    """The sockets that connections have made."""
    sockets_made = []

    def remembered(make):
        def made(*arguments):
            sockets_made.append(make(*arguments))
            return sockets_made[-1]

        return made

    for name in ("bus_publisher", "monitor"):
        monkeypatch.setattr(sockets, name, remembered(getattr(sockets, name)))
    return sockets_made


def failing(monkeypatch, name, errors):
    """The next calls raise these, those after them go through."""
    call = getattr(sockets, name)

    def fail(*arguments):
        if errors:
            raise errors.pop(0)
        return call(*arguments)

    monkeypatch.setattr(sockets, name, fail)


def run(scenario):
    async def main():
        context = zmq.Context()
        connection = ProxyConnection(context, settings.load().bus, PROXY, 0, Publisher())
        try:
            await scenario(connection)
        finally:
            connection.close()
            context.term()

    asyncio.run(main())


def too_many():
    return zmq.ZMQError(errno.EMFILE)


@pytest.mark.parametrize("name", ["bus_publisher", "monitor", "connect"])
@pytest.mark.parametrize(
    "error",
    [too_many, lambda: SettingsError("no key"), lambda: OSError("no disk")],
    ids=["ZMQError", "MeshError", "OSError"],
)
def test_what_cannot_be_opened_leaves_nothing_open_and_is_tried_again(monkeypatch, log, made, name, error):
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 0.001)

    async def scenario(connection):
        connection.open()
        errors = [error() for _ in range(3)]
        failing(monkeypatch, name, errors)
        connection.give_up()
        await until(lambda: not errors and not made[-1].closed)
        assert [each.closed for each in made[-2:]] == [False, False]
        assert all(each.closed for each in made[:-2])

    run(scenario)
    assert log.levels == ["error", "debug", "debug"]


def test_what_cannot_be_opened_at_the_start_is_closed_and_raised(monkeypatch, made):
    async def scenario(connection):
        failing(monkeypatch, "monitor", [too_many()])
        with pytest.raises(zmq.ZMQError):
            connection.open()
        assert [each.closed for each in made] == [True]

    run(scenario)


def test_an_error_is_said_again_when_the_reason_changes_or_it_worked_in_between(log):
    failures = ConnectFailures()
    other = "tcp://127.0.0.1:3"
    for proxy, reason in [(PROXY, "a"), (other, "b"), (PROXY, "a"), (other, "b"), (PROXY, "c")]:
        failures.add(proxy, SettingsError(reason))
    assert log.levels == ["error", "error", "debug", "debug", "error"]
    failures.forget(PROXY)
    failures.keep([PROXY])
    for proxy, reason in [(PROXY, "c"), (other, "b")]:
        failures.add(proxy, SettingsError(reason))
    assert log.levels[5:] == ["error", "error"]


def test_an_error_is_said_again_after_the_proxy_was_there(monkeypatch, log):
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 0.001)

    async def scenario(connection):
        connection.open()
        for _ in range(2):
            errors = [too_many(), too_many()]
            failing(monkeypatch, "monitor", errors)
            connection.give_up()
            await until(lambda errors=errors: not errors and connection._socket is not None)
        assert log.levels == ["error", "debug"] + ["debug"] * 2
        connection._on_subscription([b"\x01"])
        failing(monkeypatch, "monitor", [too_many()])
        connection.give_up()
        await until(lambda: len(log.levels) == 5)
        assert log.levels[-1] == "error"

    run(scenario)
