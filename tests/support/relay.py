"""What encrypts on the way to a gateway that does not: TLS before its port, CURVE before its `zeromq.bind`."""

import asyncio
import contextlib
import ssl
import subprocess

import zmq
import zmq.asyncio

from tests.support.until import PATIENCE


def certificate(directory):
    """(file of a certificate for 127.0.0.1, file of its key)."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    return cert, key


@contextlib.asynccontextmanager
async def tls(cert, key, host, port):
    """The port of a TLS server that relays to (host, port)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    writers = []

    async def pump(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def relay(reader, writer):
        other_reader, other_writer = await asyncio.open_connection(host, port)
        writers.extend((writer, other_writer))
        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        for writer in writers:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def curve(secret_key, address):
    """The address of a CURVE server that relays to a gateway's `zeromq.bind`, with a DEALER for each client."""
    context = zmq.asyncio.Context()
    front = context.socket(zmq.ROUTER)
    front.setsockopt(zmq.LINGER, 0)
    front.setsockopt(zmq.CURVE_SERVER, 1)
    front.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
    port = front.bind_to_random_port("tcp://127.0.0.1")
    dealers, tasks = {}, []

    async def back(identity, dealer):
        while True:
            await front.send_multipart([identity, *await dealer.recv_multipart()])

    async def forth():
        while True:
            identity, *frames = await front.recv_multipart()
            if identity not in dealers:
                dealer = dealers[identity] = context.socket(zmq.DEALER)
                dealer.setsockopt(zmq.LINGER, 0)
                dealer.connect(address)
                tasks.append(asyncio.ensure_future(back(identity, dealer)))
            await dealers[identity].send_multipart(frames)

    tasks.append(asyncio.ensure_future(forth()))
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        context.destroy(0)
