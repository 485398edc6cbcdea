"""Addresses with names: a name with many addresses stands for as many proxies.

A name is looked up in a thread of its own that nobody waits for: a DNS server that does not answer holds up
neither the event loop, nor libzmq's threads, nor the end of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

from mesh.errors import NodeError

LOOK_UP_SECONDS = 5.0
"""After this a name counts as not answered; the answer may still come."""

Answer = list[str] | OSError
"""Addresses with IP addresses in the place of the name, or why there are none."""


def without_name(address: str) -> str | None:
    """The address as ZeroMQ needs it, if nothing has to be looked up; else None."""
    if not address.startswith("tcp://"):
        return address
    host, _, port = address[len("tcp://") :].rpartition(":")
    if host == "localhost":
        return f"tcp://127.0.0.1:{port}"
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address


def look_up(address: str, done: Callable[[Answer], None]) -> None:
    """Look the name in `address` up, and call `done` in this event loop, however long it takes."""
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            answer: Answer = _addresses(address)
        except OSError as error:
            answer = error
        except Exception as error:  # what the system's resolver cannot even be asked for
            answer = OSError(str(error))
        try:
            loop.call_soon_threadsafe(done, answer)
        except RuntimeError:
            pass  # the event loop has ended meanwhile

    try:
        threading.Thread(target=work, name="look-up", daemon=True).start()
    except RuntimeError as error:  # no more threads
        loop.call_soon(done, OSError(str(error)))


async def resolve(address: str, seconds: float = LOOK_UP_SECONDS) -> list[str]:
    """The addresses that `address` stands for.

    Raises:
        NodeError: if its name cannot be looked up, or not within `seconds`.
    """
    known = without_name(address)
    if known is not None:
        return [known]
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    look_up(address, lambda answer: None if answered.done() else answered.set_result(answer))
    try:
        async with asyncio.timeout(seconds):
            answer = await answered
    except TimeoutError:
        raise NodeError(f"cannot look up the name in {address}: no answer in {seconds:g} s") from None
    if isinstance(answer, OSError):
        raise NodeError(f"cannot look up the name in {address}: {answer.strerror or answer}")
    return answer


def _addresses(address: str) -> list[str]:
    host, _, port = address[len("tcp://") :].rpartition(":")
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    v4 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET})
    v6 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET6})
    # A host of both families has an address of each: they are not two proxies.
    return [f"tcp://{each}:{port}" for each in v4] or [f"tcp://[{each}]:{port}" for each in v6]
