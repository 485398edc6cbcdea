"""`mesh join`, `mesh push`: a client in a terminal."""

import asyncio
import json as jsonlib
import os
import sys
import threading
import time
from concurrent.futures import CancelledError
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from mesh.client import Client, ClientChannel, PushError, PushTimeout
from mesh.errors import MeshError, PayloadError, SettingsError
from mesh.nodes.cli.bus import parse_json, payload_text, run
from mesh.nodes.cli.options import Json

DEFAULT_ADDRESS = "ws://localhost:4000/socket"
SCHEMES = ("ws://", "wss://", "tcp://", "ipc://")
MAX_LINES = 100
"""The most lines of stdin read ahead, and the most pushes that wait for their reply."""
MAX_LINE_BYTES = 8_000_000

Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter for connect, repeatable.")
]
Path = Annotated[str, typer.Option(help="The path of the socket's mount, for ZeroMQ addresses only.")]
ServerKey = Annotated[
    str | None, typer.Option(help="The gateway's public CURVE key, for ZeroMQ addresses only.")
]
Payload = Annotated[str, typer.Option(metavar="JSON", help="The payload of the join.")]
Format = Annotated[Literal["json", "msgpack"], typer.Option(help="The encoding of messages.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Seconds to wait for a reply.")]


def join(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[ADDRESS] TOPIC", help=f"The address is {DEFAULT_ADDRESS} by default."),
    ],
    param: Params = None,
    payload: Payload = "{}",
    presence: Annotated[bool, typer.Option("--presence", help="Show who is present.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Push lines typed in a terminal as well, each EVENT JSON.")
    ] = False,
    json: Json = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    path: Path = "/socket",
    server_key: ServerKey = None,
    format: Format = "json",
    timeout: Timeout = 10.0,
) -> None:
    """Join a topic as a client, and print its events until Ctrl-C.

    If stdin is not a terminal, each of its lines, EVENT JSON, is pushed.

    Example: [bold]mesh join room:lobby --param user=ana --presence[/bold]
    """
    address, (topic,) = _split(words, 1, "TOPIC")
    body = parse_json(payload)
    client = _client(address, param, path, server_key, format, timeout)
    printer = _Printer(topic, json)
    reads_stdin = interactive or not sys.stdin.isatty()

    async def follow() -> None:
        async with client:
            channel = client.channel(topic, body)
            channel.on_state(printer.state)
            if presence:
                people = channel.presence()
                people.on_sync(lambda: printer.presence(people.state))
            await channel.join()
            pushing = asyncio.ensure_future(_push_lines(channel, printer)) if reads_stdin else None
            try:
                await _print_events(channel, printer, count)
            finally:
                if pushing is not None:
                    pushing.cancel()
                    await asyncio.wait([pushing])

    run(follow())


def push(
    words: Annotated[list[str], typer.Argument(metavar="[ADDRESS] TOPIC EVENT [JSON]")],
    param: Params = None,
    payload: Payload = "{}",
    no_reply: Annotated[bool, typer.Option("--no-reply", help="Do not wait for a reply.")] = False,
    json: Json = False,
    path: Path = "/socket",
    server_key: ServerKey = None,
    format: Format = "json",
    timeout: Timeout = 10.0,
) -> None:
    """Join a topic, push one event, and print its reply; exits with 1 if the reply is an error.

    Example: [bold]mesh push room:lobby new_msg '{"body": "hi"}' --param user=ana[/bold]
    """
    address, (topic, event, *rest) = _split(words, 2, "TOPIC EVENT [JSON]", optional=1)
    body = parse_json(rest[0]) if rest else {}
    join_payload = parse_json(payload)
    client = _client(address, param, path, server_key, format, timeout)
    printer = _Printer(topic, json)

    async def send() -> None:
        async with client:
            channel = await client.join(topic, join_payload)
            if no_reply:
                await channel.cast(event, body)
            else:
                try:
                    printer.answer("ok", await channel.push(event, body))
                except PushError as error:
                    printer.answer(error.status, error.response)
                    raise
                except PushTimeout as error:
                    raise PushTimeout(f"{error}: its handler may not reply (--no-reply)") from None
            await channel.leave()  # answered after the push was handled

    run(send())


def _client(
    address: str,
    param: list[str] | None,
    path: str,
    server_key: str | None,
    format: Literal["json", "msgpack"],
    timeout: float,
) -> Client:
    return Client(
        address,
        params=_params(param),
        path=path,
        server_key=server_key,
        format=format,
        timeout_seconds=timeout,
    )


async def _print_events(channel: ClientChannel, printer: "_Printer", count: int | None) -> None:
    seen = 0
    async for event, payload in channel:
        printer.event(event, payload)
        seen += 1
        if seen == count:
            return


async def _push_lines(channel: ClientChannel, printer: "_Printer") -> None:
    """Push the lines of stdin, several at a time, because not every event gets a reply."""
    slots = asyncio.Semaphore(MAX_LINES)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_LINES)
    # A daemon: reading from a terminal cannot be cancelled, and must not keep the program running.
    threading.Thread(
        target=_read_lines, args=(asyncio.get_running_loop(), lines), name="stdin", daemon=True
    ).start()

    async def push(event: str, payload: Any) -> None:
        try:
            printer.reply(event, "ok", await channel.push(event, payload))
        except PushError as error:
            printer.reply(event, error.status, error.response)
        except PushTimeout:
            pass  # not every event gets a reply
        except MeshError as error:
            printer.problem(str(error))
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        while (line := await lines.get()) is not None:
            try:
                parsed = _parse_line(line)
            except PayloadError as error:
                printer.problem(str(error))
                continue
            if parsed is not None:
                await slots.acquire()
                group.create_task(push(*parsed))


def _parse_line(line: bytes) -> tuple[str, Any] | None:
    text = line.decode(errors="replace").strip()
    if not text:
        return None
    event, _, payload = text.partition(" ")
    return event, parse_json(payload) if payload.strip() else {}


def _read_lines(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[bytes | None]") -> None:
    """Read stdin without sys.stdin, whose lock, held while waiting, would break interpreter shutdown."""
    rest = b""
    try:
        while data := os.read(0, 65_536):
            *complete, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                return
            for line in complete:
                _put(loop, lines, line)
        for last in (rest, None):
            _put(loop, lines, last)
    except (OSError, RuntimeError, CancelledError):
        pass  # the program ends


def _put(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[bytes | None]", line: bytes | None) -> None:
    putting = lines.put(line)
    try:
        asyncio.run_coroutine_threadsafe(putting, loop).result()
    except RuntimeError:  # the loop is closed and has not taken it, of which Python would warn
        putting.close()
        raise


class _Printer:
    """Prints events and replies to stdout, the rest to stderr."""

    def __init__(self, topic: str, json: bool) -> None:
        self._topic = topic
        self._json = json
        self._present: dict[str, int] | None = None
        self._out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def event(self, event: str, payload: Any) -> None:
        """Print a push or broadcast from the server."""
        if self._json:
            return self._line({"topic": self._topic, "event": event, "payload": _jsonable(payload)})
        self._stamp()
        self._out.print(self._topic, end=" ", style="cyan")
        self._out.print(event, end=" ", style="bold")
        self._out.print(payload_text(payload))

    def presence(self, state: dict[str, Any]) -> None:
        """Print who is present, if that has changed."""
        counts = {key: len(entry["metas"]) for key, entry in state.items()}
        if counts == self._present:
            return  # e.g. the diff of one's own join, after the state
        self._present = counts
        if self._json:
            return self._line({"topic": self._topic, "presence": counts})
        self._stamp()
        self._out.print(self._topic, end=" ", style="cyan")
        self._out.print("here:", end=" ", style="green")
        self._out.print(", ".join(f"{key} ×{n}" if n > 1 else key for key, n in counts.items()) or "nobody")

    def reply(self, event: str, status: str, response: Any) -> None:
        """Print the reply to a line of stdin."""
        if self._json:
            return self._line(
                {"topic": self._topic, "event": event, "status": status, "response": _jsonable(response)}
            )
        self._stamp()
        self._out.print(
            f"{event}:", status, payload_text(response), style="green" if status == "ok" else "red"
        )

    def answer(self, status: str, response: Any) -> None:
        """Print the reply to the only push."""
        if self._json:
            return self._line({"status": status, "response": _jsonable(response)})
        self._out.print(payload_text(response))

    def state(self, state: str, reason: str) -> None:
        """Print the channel's state."""
        if state in ("joined", "errored", "closed"):
            self._err.print(f"{self._topic}: {state}", f"({reason})" if reason else "", style="dim")

    def problem(self, sentence: str) -> None:
        """Print what went wrong with a line of stdin."""
        self._err.print(f"mesh: {sentence}", style="red")

    def _line(self, row: dict[str, Any]) -> None:
        typer.echo(jsonlib.dumps(row))

    def _stamp(self) -> None:
        self._out.print(time.strftime("%H:%M:%S") + " ", end="", style="dim")


def _jsonable(payload: Any) -> Any:
    return {"bytes": payload.hex()} if isinstance(payload, bytes) else payload


def _split(words: list[str], required: int, usage: str, optional: int = 0) -> tuple[str, list[str]]:
    """Return (address, the other words)."""
    address, rest = (words[0], words[1:]) if words[0].startswith(SCHEMES) else (DEFAULT_ADDRESS, words)
    if not required <= len(rest) <= required + optional:
        raise SettingsError(f"{' '.join(words)!r}: want [ADDRESS] {usage}")
    return address, rest


def _params(given: list[str] | None) -> dict[str, str]:
    params = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise SettingsError(f"--param {each!r}: want NAME=VALUE")
        params[name] = value
    return params
