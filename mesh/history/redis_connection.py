"""The connections of one worker to Redis or Valkey: time limits, outages, and the run of the server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from types import ModuleType
from typing import Any, TypeVar

from mesh import contexts
from mesh.errors import HistoryUnavailableError, SettingsError
from mesh.history.redis_stream import Argument
from mesh.settings.secret import Secret
from mesh.telemetry import get_logger, shorten

log = get_logger(__name__)

OPERATION_SECONDS = 2.0
"""The longest time for one operation, including a new connection."""
PING_SECONDS = 2.0
"""The time between two checks of a server that works."""
FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 5.0
CONCURRENT = 16
"""The most operations at the same time; others wait."""
_ABSENT = "0" * 40

Result = TypeVar("Result")


class Script:
    """A Lua script of the server, and the hash by which the server remembers it."""

    __slots__ = ("hash", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Carries out operations while the server works, and otherwise tries again and again to reach it.

    Args:
        url: the address.
        check_key: a key that is set to find out whether the server accepts changes.

    Attributes:
        problem: why the server cannot be used now; empty if it can.
        run: an id that changes when the server restarts, or another one takes its place.
        trusted: whether a server that has restarted still has everything that it had confirmed.
        refusals: the exceptions of an operation that the server refuses because of its key.

    Raises:
        SettingsError: if redis-py is not installed, or the address is invalid.
    """

    def __init__(self, url: Secret, check_key: str) -> None:
        self._redis = _redis()
        self._pool = _pool(self._redis, url, self._greet)
        self._client = self._redis.asyncio.Redis(connection_pool=self._pool)
        self._errors = (self._redis.exceptions.RedisError, OSError, TimeoutError)
        self.refusals: tuple[type[Exception], ...] = (self._redis.exceptions.ResponseError,)
        self._check_key = check_key
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._attempted = asyncio.Event()
        self._check = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._logged_problem = ""
        self.problem = f"{self._where()} was not reached yet"
        self.run = ""
        self.trusted = False

    def start(self) -> None:
        """Connect, and from then on check the server. No effect if it was called before."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(
                self._watch(), name="redis", context=contexts.fresh()
            )

    async def call(self, operation: Callable[[Any], Awaitable[Result]]) -> Result:
        """Return what an operation returns, which is given the redis-py client.

        Raises:
            HistoryUnavailableError: if the server cannot be used, or does not answer in time.
            redis.exceptions.ResponseError: if the key does not hold a stream; see `refusals`.
        """
        self.start()
        if not self._attempted.is_set():
            await self._attempted.wait()
        if self.problem:
            raise HistoryUnavailableError(self.problem)
        try:
            async with self._slots, asyncio.timeout(OPERATION_SECONDS):
                return await operation(self._client)
        except self._errors as error:
            if self._concerns_key(error):
                raise
            self.lost(error)
            raise HistoryUnavailableError(self._text(error)) from None

    async def script(self, script: Script, key: str, arguments: Callable[[], list[Argument]]) -> Any:
        """Run a script; its arguments are requested once the server is reached. Raises as `call`."""

        async def operation(client: Any) -> Any:
            values = arguments()
            try:
                return await client.evalsha(script.hash, 1, key, *values)
            except self._redis.exceptions.NoScriptError:
                return await client.eval(script.text, 1, key, *values)

        return await self.call(operation)

    async def scripts(self, script: Script, calls: Sequence[tuple[str, list[Argument]]]) -> list[Any]:
        """Run a script for several keys in one pipeline; results may be exceptions. Raises as `call`."""

        async def operation(client: Any) -> list[Any]:
            results = await _pipeline(client, "evalsha", script.hash, calls)
            lacking = self._redis.exceptions.NoScriptError
            missing = [at for at, result in enumerate(results) if isinstance(result, lacking)]
            if missing:
                again = await _pipeline(client, "eval", script.text, [calls[at] for at in missing])
                for at, result in zip(missing, again, strict=True):
                    results[at] = result
            for result in results:
                if isinstance(result, Exception) and not self._concerns_key(result):
                    self.lost(result)
            return results

        return await self.call(operation)

    def _concerns_key(self, error: BaseException) -> bool:
        return isinstance(error, self.refusals) and str(error).startswith("WRONGTYPE")

    def lost(self, error: BaseException) -> None:
        """Take note that the server cannot be used, and try to reach it."""
        if self._closed:
            return
        self.problem = self._text(error)
        self._check.set()
        if not self._logged_problem:
            self._logged_problem = self.problem
            log.error("the history store cannot be used", problem=self.problem)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        self.problem = f"{self._where()}: closed"
        self._attempted.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                await self._pool.disconnect()
        except self._errors as error:
            log.debug("connections to the history store were not closed", problem=self._text(error))

    # Parts

    async def _watch(self) -> None:
        """Check the server for as long as this object is used."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._check.clear()
            try:
                async with asyncio.timeout(OPERATION_SECONDS):
                    await self._client.set(self._check_key, 1, px=60_000)
            except self._errors as error:
                self.lost(error)
                self._attempted.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
                continue
            if self._logged_problem:
                self._logged_problem = ""
                log.info("the history store can be used again")
            self.problem, pause = "", FIRST_PAUSE_SECONDS
            self._attempted.set()
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._check.wait()
            except TimeoutError:
                pass

    async def _greet(self, connection: Any) -> None:
        """Begin a connection, and find out which run of the server it belongs to."""
        await connection.on_connect()
        await connection.send_command("INFO")
        info = _parse_info(await connection.read_response())
        self.run = info.get("run_id", "")
        # A replica that has taken over has the id of its former primary as its second one.
        promoted = info.get("role") != "master" or info.get("master_replid2", _ABSENT) != _ABSENT
        self.trusted = info.get("aof_enabled") == "1" and not promoted

    def _where(self) -> str:
        options = self._pool.connection_kwargs
        place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"history.redis_url: the server at {place}"

    def _text(self, error: BaseException) -> str:
        if isinstance(error, (TimeoutError, self._redis.exceptions.TimeoutError)):
            return f"{self._where()} does not answer within {OPERATION_SECONDS:g} s"
        return f"{self._where()} cannot be used: {shorten(str(error) or type(error).__name__)}"


async def _pipeline(
    client: Any, command: str, script: str, calls: Sequence[tuple[str, list[Argument]]]
) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for key, arguments in calls:
        getattr(pipeline, command)(script, 1, key, *arguments)
    results: list[Any] = await pipeline.execute(raise_on_error=False)
    return results


def _redis() -> ModuleType:
    """Return redis-py, which only those who use it load. Raises SettingsError if it is not installed."""
    try:
        import redis.asyncio
    except ImportError:
        raise SettingsError(
            "history.store is redis, but redis-py is not installed: pip install 'channelmesh[redis]'"
        ) from None
    return redis


def _pool(redis: ModuleType, url: Secret, greet: Callable[[Any], Awaitable[None]]) -> Any:
    """Return the connections; none is opened yet. Raises SettingsError for an invalid address."""
    try:
        pool = redis.asyncio.ConnectionPool.from_url(url.get_secret_value())
    except (ValueError, TypeError, AttributeError):
        # Not shown, nor its cause: it may contain a password.
        raise SettingsError(
            "history.redis_url is not an address of Redis; want e.g. redis://:password@127.0.0.1:6379/0,"
            " rediss://… for TLS, or unix:///path/of/socket"
        ) from None
    pool.connection_kwargs.update(
        client_name="channelmesh",
        decode_responses=False,
        protocol=2,
        redis_connect_func=greet,
        retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0),
        socket_connect_timeout=OPERATION_SECONDS,
        socket_timeout=OPERATION_SECONDS,
    )
    return pool


def _parse_info(text: bytes) -> dict[str, str]:
    lines = text.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
