"""Resolves the names in addresses: a name with several IP addresses stands for several proxies.

Each look-up runs in a thread of its own that nothing waits for: a DNS server that does not answer blocks
neither the event loop, nor libzmq's threads, nor the exit of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

from mesh.errors import NodeError

LOOK_UP_SECONDS = 5.0
"""After this time a look-up counts as failed, although the answer may still arrive."""

Answer = list[str] | OSError
"""Addresses with IP addresses in place of the name, or the reason why there are none."""


def literal_address(address: str) -> str | None:
    """Return the address as ZeroMQ needs it; None if its name must be looked up."""
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
    """Look up the name in `address`, and call `done` in this event loop whenever the answer arrives."""
    loop = asyncio.get_running_loop()

    def run() -> None:
        try:
            answer: Answer = _addresses(address)
        except OSError as error:
            answer = error
        except Exception as error:  # the name is not even valid for the system's resolver
            answer = OSError(str(error))
        try:
            loop.call_soon_threadsafe(done, answer)
        except RuntimeError:
            pass  # the event loop has ended in the meantime

    try:
        threading.Thread(target=run, name="look-up", daemon=True).start()
    except RuntimeError as error:  # no more threads
        loop.call_soon(done, OSError(str(error)))


async def resolve(address: str, seconds: float = LOOK_UP_SECONDS) -> list[str]:
    """Return the addresses that `address` resolves to.

    Raises:
        NodeError: if its name cannot be resolved within `seconds`.
    """
    literal = literal_address(address)
    if literal is not None:
        return [literal]
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    look_up(address, lambda answer: None if answered.done() else answered.set_result(answer))
    try:
        async with asyncio.timeout(seconds):
            answer = await answered
    except TimeoutError:
        raise NodeError(f"cannot resolve the name in {address}: no answer within {seconds:g} s") from None
    if isinstance(answer, OSError):
        raise NodeError(f"cannot resolve the name in {address}: {answer.strerror or answer}")
    return answer


def _addresses(address: str) -> list[str]:
    host, _, port = address[len("tcp://") :].rpartition(":")
    found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    v4 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET})
    v6 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET6})
    # A host with both families has an address of each: these are not two proxies.
    return [f"tcp://{each}:{port}" for each in v4] or [f"tcp://[{each}]:{port}" for each in v6]
