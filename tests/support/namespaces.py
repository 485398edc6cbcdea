"""Hosts of one network, each in a network namespace, whose packets to each other can be lost.

A cut loses packets silently: the sender addresses a network card that nobody has. Connections get no reset
and no error, as when a cable is pulled, so that only missing answers tell. It works one way at a time, and
nothing outside of the namespaces is touched.
"""

import contextlib
import ctypes
import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.processes import node
from tests.support.until import PATIENCE

NAMESPACES = Path("/run/netns")
PREFIX = "mesh-test"
NOBODY = "02:00:00:00:ff:ff"
CLONE_NEWNET = 0x40000000


def missing():
    """Why namespaces cannot be made here; None if they can."""
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (Debian's iproute2), which is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"{PREFIX}-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=PATIENCE)
    if tried.returncode:
        return f"this kernel or container lets nobody make network namespaces: {tried.stderr.strip()}"
    ip("netns", "del", name)
    return None


def ip(*arguments, batch=None):
    """Run `ip`; `batch` are lines of commands."""
    done = subprocess.run(
        ["ip", *arguments], input=batch, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}{batch or ''}"


class Host:
    """One of them.

    Attributes:
        address: where the others reach it.
    """

    def __init__(self, namespace, number):
        self.namespace = namespace
        self.address = f"10.77.0.{number}"
        self.mac = f"02:00:00:00:00:{number:02x}"

    def node(self, directory, *arguments, env=None):
        """`mesh …` on this host; as tests.support.processes.node."""
        return node(directory, *arguments, env=env, within=("ip", "netns", "exec", self.namespace))

    def connect(self, address, port):
        """A TCP connection of this process, from this host."""
        with ThreadPoolExecutor(1) as thread:  # a thread has a namespace of its own
            made = thread.submit(self._socket).result()
        made.settimeout(PATIENCE)
        try:
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made

    def _socket(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with (NAMESPACES / self.namespace).open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns to {self.namespace}")
        return socket.socket()

    def get(self, port, path):
        """(status, body) of an HTTP server that runs on this host, whatever the network does."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.sock = self.connect("127.0.0.1", port)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def wrong(self, port):
        """What a node on this host says in /readyz; empty if it is ready."""
        status, body = self.get(port, "/readyz")
        answer = json.loads(body)["wrong"]
        assert (status == 200) == (answer == {}), body
        return answer


class Network:
    """All of them, by name."""

    def __init__(self, names):
        mark = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.hosts = {name: Host(f"{mark}-{name}", number) for number, name in enumerate(names, 1)}
        self._switch = f"{mark}-switch"

    def __getitem__(self, name):
        return self.hosts[name]

    def make(self):
        """A switch, a cable from it to each host, and everybody's number in everybody's book."""
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "-batch", "-", batch="link add switch type bridge\nlink set switch up\n")
        for number, host in enumerate(self.hosts.values()):
            ip("netns", "add", host.namespace)
            cable = (
                f"link add port{number} type veth peer name eth0 address {host.mac} netns {host.namespace}\n"
                f"link set port{number} master switch up\n"
            )
            ip("-n", self._switch, "-batch", "-", batch=cable)
            up = f"link set lo up\naddr add {host.address}/24 dev eth0\nlink set eth0 up\n"
            ip("-n", host.namespace, "-batch", "-", batch=up)
            self._retry_as_ever(host.namespace)
        for source, target in itertools.permutations(self.hosts, 2):
            self._reach(source, target, self.hosts[target].mac)

    def _retry_as_ever(self, namespace):
        """New kernels try to connect every second at first; older ones wait twice as long each time."""
        setting = "/proc/sys/net/ipv4/tcp_syn_linear_timeouts"
        if Path(setting).exists():
            ip("netns", "exec", namespace, "sh", "-c", f"echo 0 > {setting}")

    def remove(self):
        """Cables and addresses go with their namespaces."""
        for namespace in (*(host.namespace for host in self.hosts.values()), self._switch):
            if (NAMESPACES / namespace).exists():
                ip("netns", "del", namespace)

    def cut(self, source, target):
        """What `source` sends to `target` is lost from now on; what `target` sends arrives."""
        self._reach(source, target, NOBODY)

    def heal(self):
        """Everybody reaches everybody."""
        for source, target in itertools.permutations(self.hosts, 2):
            self._reach(source, target, self.hosts[target].mac)

    def _reach(self, source, target, mac):
        host, to = self.hosts[source], self.hosts[target].address
        ip("-n", host.namespace, "neigh", "replace", to, "lladdr", mac, "dev", "eth0", "nud", "permanent")


_numbers = itertools.count(1)


@contextlib.contextmanager
def network(*names):
    """A Network of these hosts; all is removed at the end, and what a killed test run has left behind."""
    _sweep()
    made = Network(names)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def _sweep():
    for left in NAMESPACES.glob(f"{PREFIX}-*"):
        pid = left.name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            subprocess.run(
                ["ip", "netns", "del", left.name], capture_output=True, timeout=PATIENCE, check=False
            )
