"""A TCP relay between a client and the gateways, which can be cut, frozen and moved to another gateway."""

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class Relay:
    """Forwards connections to one gateway.

    Attributes:
        target: (host, port) of the gateway that new connections go to.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """Listen on a port of this machine, and return it."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """End all connections at once; what is in transit is lost."""
        for writer in self._open:
            writer.transport.abort()

    def freeze(self) -> None:
        """Forward nothing until `thaw`; connections stay open."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Forward again."""
        self._thawed.set()

    def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
        self.thaw()
        self.cut()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            self._open.discard(writer)
            writer.transport.abort()
            return
        self._open.add(back)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._open -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
