"""A mesh with CURVE keys: those who have one take part, nobody else."""

import asyncio
import contextlib
import json
import subprocess
import sys

import pytest
import zmq

from mesh import settings
from mesh.zeromq import sockets
from mesh.zeromq.curve import BUS, new_context
from mesh.zeromq.keys import PROGRAMS, KeyDirectory
from tests.support.processes import ROOT, node
from tests.support.proxy import two_ports_in_a_row
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run
from tests.support.zeromq import Dealer, ZeroMQClient

APP = "examples.conformance:endpoint"


class Mesh:
    """Proxy, gateway and worker that listen on all addresses, each with its own key."""

    def __init__(self, directory):
        self.keys = KeyDirectory(directory / "keys")
        for name in ("proxy", "gateway", "worker"):
            self.keys.generate(name)
        self.port = two_ports_in_a_row()
        self.proxy = f"tcp://127.0.0.1:{self.port}"

    def env(self, name):
        return {
            "MESH_SECURITY__KEYS": str(self.keys.path),
            "MESH_SECURITY__NODE_KEY": str(self.keys.path / "secret" / f"{name}.key_secret"),
            "MESH_LOG__LEVEL": "debug",
            "MESH_BUS__PROXIES": self.proxy,
            "MESH_LINK__BIND": "tcp://0.0.0.0:*",
            "MESH_LINK__ADVERTISE_HOST": "127.0.0.1",
            "MESH_ZEROMQ__BIND": "tcp://0.0.0.0:*",
        }

    def public(self, name):
        return self.keys.public("nodes", name)


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    directory = tmp_path_factory.mktemp("curve")
    mesh = Mesh(directory)
    with (
        node(directory, "proxy", "--bind", f"tcp://0.0.0.0:{mesh.port}", env=mesh.env("proxy")) as mesh.proxy_node,
        node(directory, "worker", APP, env=mesh.env("worker")) as mesh.worker,
        node(directory, "gateway", APP, "--port", "0", env=mesh.env("gateway")) as gateway,
    ):  # fmt: skip
        gateway.wait_for("linked to worker")
        mesh.url = gateway.url()
        mesh.clients = gateway.wait_for(r"zeromq +(tcp://\S+)")[1].replace("0.0.0.0", "127.0.0.1")
        mesh.link = mesh.worker.wait_for(r"link +(tcp://127\.0\.0\.1:\d+)")[1]
        yield mesh


def test_channels_work_over_encrypted_bus_and_links(curve):
    async def scenario():
        one, two = await PhoenixClient.connect(curve.url), await PhoenixClient.connect(curve.url)
        for client in (one, two):
            assert (await client.join("room:1"))[0] == "ok"
        one.cast("room:1", "new_msg", {"n": 1})
        assert (await two.next())[3:] == ["new_msg", {"n": 1}]

    run(scenario())


def test_a_zeromq_client_with_any_key_talks_to_the_gateway_it_knows(curve):
    async def scenario():
        public, secret = zmq.curve_keypair()
        options = {"CURVE_PUBLICKEY": public, "CURVE_SECRETKEY": secret}
        dealer = Dealer(curve.clients, **options, CURVE_SERVERKEY=curve.public("gateway"))
        await dealer.open()
        client = ZeroMQClient(dealer)
        assert (await client.join("room:1"))[0] == "ok"

    run(scenario())


@contextlib.contextmanager
def stranger(kind, address, server_key=None, pair=None):
    """A socket with somebody's key; gives it and a monitor of how its handshake goes."""
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        if server_key is not None:
            socket.curve_publickey, socket.curve_secretkey = pair or zmq.curve_keypair()
            socket.curve_serverkey = server_key
        events = (
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_DISCONNECTED
        )
        monitor = socket.get_monitor_socket(events)
        try:
            socket.connect(address)
            yield monitor
        finally:
            socket.disable_monitor()
            monitor.close(0)


def outcome(monitor):
    assert monitor.poll(1_000 * PATIENCE), "the handshake neither succeeded nor failed"
    return int.from_bytes(monitor.recv_multipart()[0][:2], "little")


def test_nobody_else_gets_in(curve):
    keys, doors = curve.keys, [(zmq.PUB, curve.proxy), (zmq.DEALER, curve.link)]
    program = keys.generate("nosy", PROGRAMS)
    pair = (program.public, zmq_secret(program))
    for kind, address in doors:
        server = curve.public("proxy" if address == curve.proxy else "worker")
        for server_key in (None, curve.public("gateway"), server):  # no CURVE, wrong server, unknown key
            with stranger(kind, address, server_key) as monitor:
                assert outcome(monitor) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    with stranger(zmq.DEALER, curve.link, curve.public("worker"), pair) as monitor:
        assert outcome(monitor) == zmq.EVENT_HANDSHAKE_FAILED_AUTH  # programs have no business on a link
    curve.worker.wait_for("a key that is not allowed was refused")


def zmq_secret(key):
    return zmq.auth.load_certificate(key.secret)[1]


def script(curve, name, code):
    return subprocess.run(
        [sys.executable, "-c", f"import asyncio, mesh\nasync def main():\n{code}\nasyncio.run(main())"],
        cwd=ROOT,
        env=curve.env(name),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_a_program_with_a_key_publishes_until_its_key_is_revoked(curve):
    code = """
  async with mesh.connect(timeout_seconds=%d) as pubsub:
    await pubsub.broadcast("room:keys", "new_msg", {"from": "billing"})
"""
    curve.keys.generate("billing", PROGRAMS)

    async def scenario():
        client = await PhoenixClient.connect(curve.url)
        await client.join("room:keys")
        done = await asyncio.to_thread(script, curve, "billing", code % 30)
        assert done.returncode == 0, done.stderr
        assert (await client.next())[3:] == ["new_msg", {"from": "billing"}]

    run(scenario())
    curve.keys.rotate("billing")  # the pair that the script reads now is the new one
    assert script(curve, "billing", code % 30).returncode == 0
    secret = (curve.keys.path / "secret" / "billing.key_secret").read_bytes()
    curve.keys.revoke("billing")
    kept = curve.keys.path / "secret" / "billing.key_secret"
    kept.touch(0o600)
    kept.write_bytes(secret)

    def refused():
        done = script(curve, "billing", code % 3)
        return done.returncode != 0 and "no proxy answered" in done.stderr

    until_sync(refused)
    curve.proxy_node.wait_for("a key that is not allowed was refused")


def test_a_program_without_keys_is_told_what_it_needs(curve):
    code = "  async with mesh.connect('tcp://10.0.0.1:5550'): pass"
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio, mesh\nasync def main():\n{code}\nasyncio.run(main())"],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (
        "cannot connect: 'tcp://10.0.0.1:5550' is beyond this machine and requires CURVE keys"
        in done.stderr
    )


def test_keys_are_made_and_listed_from_a_terminal(tmp_path):
    def mesh(*arguments):
        command = [sys.executable, "-m", "mesh", "keys", *arguments, "--keys", str(tmp_path / "keys")]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout

    assert "MESH_SECURITY__NODE_KEY=" in mesh("generate", "proxy", "gateway-1")
    mesh("generate", "billing", "--program")
    assert "mesh keys revoke proxy.previous" in mesh("rotate", "proxy")
    listed = [json.loads(line) for line in mesh("list", "--json").splitlines()]
    assert [(each["name"], each["role"]) for each in listed] == [
        ("gateway-1", "node"), ("proxy", "node"), ("proxy.previous", "node"), ("billing", "program"),
    ]  # fmt: skip
    mesh("revoke", "proxy.previous")
    plain = mesh("list")
    assert listed[1]["public"] in plain
    assert "previous" not in plain


@pytest.mark.parametrize("answers", ["nobody", "somebody who says nothing"])
def test_without_somebody_to_answer_for_keys_nobody_gets_in(tmp_path, answers):
    keys = KeyDirectory(tmp_path / "keys")
    own = keys.generate("proxy")
    flags = {"security": {"node_key": str(own.secret), "keys": str(keys.path)}}
    context = new_context(settings.load(flags=flags).security)
    listener, zap = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    listener.handshake_ivl = 3_000  # milliseconds: who waits for an answer is sent away then
    try:
        address = sockets.bind(listener, "tcp://127.0.0.1:*", BUS)
        pair = (own.public, zmq_secret(own))
        with stranger(zmq.DEALER, address, own.public, pair) as monitor:
            assert outcome(monitor) == zmq.EVENT_HANDSHAKE_SUCCEEDED
        context._authenticator.stop()  # as if its thread had died
        until_sync(lambda: can_bind(zap, "inproc://zeromq.zap.01"))  # libzmq closes sockets in a thread
        if answers == "nobody":
            zap.unbind("inproc://zeromq.zap.01")
        with stranger(zmq.DEALER, address, own.public, pair) as monitor:
            assert outcome(monitor) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    finally:
        listener.close(0)
        zap.close(0)
        context.term()


def can_bind(socket, address):
    with contextlib.suppress(zmq.ZMQError):
        socket.bind(address)
        return True
    return False


def test_the_proxies_key_is_rotated_and_the_other_nodes_need_no_restart(tmp_path):
    mesh = Mesh(tmp_path)
    bind = ["--bind", f"tcp://127.0.0.1:{mesh.port}"]
    with (
        node(tmp_path, "worker", APP, env=mesh.env("worker")),
        node(tmp_path, "gateway", APP, "--port", "0", env=mesh.env("gateway")) as gateway,
    ):

        async def talks(text):
            async with asyncio.timeout(PATIENCE):
                client = await PhoenixClient.connect(gateway.url())
                while (await client.join(f"room:{text}"))[0] != "ok":
                    pass  # no worker yet
                client.cast(f"room:{text}", "new_msg", {"text": text})
                assert (await client.event("new_msg"))[4] == {"text": text}

        with node(tmp_path, "proxy", *bind, env=mesh.env("proxy")):
            gateway.wait_for("linked to worker")
            run(talks("before"))
        mesh.keys.rotate("proxy")
        mesh.keys.revoke("proxy.previous")
        with node(tmp_path, "proxy", *bind, env=mesh.env("proxy")):
            run(talks("after"))
