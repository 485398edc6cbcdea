"""A gateway that says what a test wants, to clients over plain ZeroMQ; and one with a key before a real one."""

import contextlib
import json
import threading

import zmq
import zmq.utils.z85

from tests.support.until import PATIENCE


class FakeGateway:
    """A ROUTER; talks with the client that opened last."""

    def __init__(self, address="tcp://127.0.0.1:*", **options):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.bind(address)
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")
        self.client = b""

    def close(self):
        self.socket.close(0)
        self.context.term()

    def recv(self, *kinds, seconds=PATIENCE):
        """The content of the next message of one of these kinds."""
        while True:
            assert self.socket.poll(int(seconds * 1000)), f"no {kinds} within {seconds} s"
            identity, kind, data = self.socket.recv_multipart()
            if kind in kinds:
                self.client = identity
                return data

    def silent(self, seconds):
        """Whether nothing comes for so long."""
        return not self.socket.poll(int(seconds * 1000))

    def send(self, *frames):
        self.socket.send_multipart((self.client, *frames))

    def say(self, *message):
        self.send(b"T", json.dumps(list(message)).encode())

    def opened(self, idle=600.0):
        """Let the next client in; returns what it opened with."""
        opening = json.loads(self.recv(b"O"))
        self.send(b"O", json.dumps({"idle_timeout_seconds": idle}).encode())
        return opening

    def message(self):
        """The next message in text."""
        return json.loads(self.recv(b"T"))

    def reply(self, message, status="ok", response=None):
        join_ref, ref, topic = message[:3]
        self.say(join_ref, ref, topic, "phx_reply", {"status": status, "response": response or {}})

    def joined(self):
        """Let the next join in; returns it."""
        message = self.message()
        assert message[3] == "phx_join", message
        self.reply(message)
        return message


@contextlib.contextmanager
def curve_relay(gateway, server_keys, allowed=None):
    """Clients with CURVE before a gateway without; gives the address. `allowed`: the only client key."""
    context = zmq.Context()
    front = context.socket(zmq.ROUTER)
    front.setsockopt(zmq.LINGER, 0)
    front.curve_publickey, front.curve_secretkey = server_keys
    front.curve_server = True
    zap = context.socket(zmq.REP)
    zap.bind("inproc://zeromq.zap.01")
    front.zap_domain = b"clients"
    front.bind("tcp://127.0.0.1:*")
    stop = threading.Event()
    thread = threading.Thread(target=_relay, args=(context, front, zap, gateway, allowed, stop))
    thread.start()
    try:
        yield front.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")
    finally:
        stop.set()
        thread.join(PATIENCE)
        context.term()


def _relay(context, front, zap, gateway, allowed, stop):
    backs = {}
    poller = zmq.Poller()
    for socket in (front, zap):
        poller.register(socket, zmq.POLLIN)
    while not stop.is_set():
        for socket, _ in poller.poll(20):
            if socket is zap:
                _answer(zap, allowed)
            elif socket is front:
                identity, *frames = front.recv_multipart()
                if identity not in backs:
                    backs[identity] = context.socket(zmq.DEALER)
                    backs[identity].setsockopt(zmq.LINGER, 0)
                    backs[identity].connect(gateway)
                    poller.register(backs[identity], zmq.POLLIN)
                backs[identity].send_multipart(frames)
            else:
                (identity,) = (key for key, back in backs.items() if back is socket)
                front.send_multipart([identity, *socket.recv_multipart()])
    for socket in (front, zap, *backs.values()):
        socket.close(0)


def _answer(zap, allowed):
    """RFC 27: version, request, domain, address, identity, mechanism, key."""
    version, request, *_, mechanism, key = zap.recv_multipart()
    ok = mechanism == b"CURVE" and (allowed is None or key == zmq.utils.z85.decode(allowed))
    zap.send_multipart([version, request, b"200" if ok else b"400", b"", b"", b""])
