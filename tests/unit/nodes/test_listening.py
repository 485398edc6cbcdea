"""nodes/listening.py: several hosts, IPv4 and IPv6, one port."""

import socket

import pytest

from mesh import settings
from mesh.errors import NodeError, SettingsError
from mesh.nodes import listening


@pytest.fixture
def listen():
    made = []

    def call(*hosts, port=0, **options):
        found = listening.listen(hosts, port, **options)
        made.extend(found)
        return found

    yield call
    for each in made:
        each.close()


def reached(host, port):
    try:
        with socket.create_connection((host, port), timeout=180):
            return True
    except OSError:
        return False


def port_of(listeners):
    (port,) = {each.getsockname()[1] for each in listeners}
    return port


def test_the_ipv6_wildcard_takes_ipv4_too(listen):
    port = port_of(listen("::"))
    assert reached("127.0.0.1", port)
    assert reached("::1", port)


@pytest.mark.parametrize(
    ("hosts", "sockets"),
    [
        (("127.0.0.1", "::1"), 2),
        (("::", "0.0.0.0"), 2),
        (("0.0.0.0", "::"), 2),
        (("::", "127.0.0.1"), 2),
        (("0.0.0.0", "127.0.0.1"), 1),
        (("::", "::1"), 1),
        (("127.0.0.1", "127.0.0.1"), 1),
        (("127.0.0.1", "127.1"), 1),
        (("::ffff:127.0.0.1",), 1),
        (("::ffff:127.0.0.1", "127.0.0.1", "::1"), 2),
    ],
)
def test_several_hosts_share_one_port(listen, hosts, sockets):
    listeners = listen(*hosts, reuse_port=True)
    assert len(listeners) == sockets
    port = port_of(listeners)
    for host in hosts:
        assert reached({"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host), port)
    assert port_of(listen(*hosts, port=port, reuse_port=True)) == port


def test_a_port_that_is_taken_at_one_host_is_not_drawn(listen, monkeypatch):
    taken = port_of(listen("::1"))
    drawn = iter((taken, 0))
    bind = listening._bind

    def draws(family, address, *more, **options):
        if family == socket.AF_INET:
            address = (address[0], next(drawn))
        return bind(family, address, *more, **options)

    monkeypatch.setattr(listening, "_bind", draws)
    assert port_of(listen("127.0.0.1", "::1")) != taken


def test_a_port_that_is_taken_is_said(listen):
    port = port_of(listen("::1"))
    with pytest.raises(
        NodeError, match=rf"\[::1\]:{port}: Address already in use; choose another with --port"
    ):
        listen("127.0.0.1", "::1", port=port)
    with pytest.raises(NodeError, match=r"192\.0\.2\.1:0: .*admin\.port"):
        listen("192.0.2.1", setting="admin.port")


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ("::", ["::"]),
        ("[::1]", ["::1"]),
        ("[::1],127.0.0.1", ["::1", "127.0.0.1"]),
        ("127.0.0.1, ::1", ["127.0.0.1", "::1"]),
        ('["::1", "localhost"]', ["::1", "localhost"]),
        (["::", "::"], ["::"]),
    ],
)
def test_hosts_are_a_list_or_text(given, hosts):
    loaded = settings.load(flags={"gateway": {"host": given}, "admin": {"host": given}})
    assert loaded.gateway.host == loaded.admin.host == hosts


@pytest.mark.parametrize("room", [{"host": []}, {"host": "a b"}, {"host": ["http://a"]}, {"trusted_proxies": ["10.0.0.0/33"]}])  # fmt: skip
def test_what_is_no_host_or_network_is_said(room):
    with pytest.raises(SettingsError, match="MESH_GATEWAY__"):
        settings.load(flags={"gateway": room})


def test_urls_have_brackets():
    assert listening.url("http", "::", 4000) == "http://[::]:4000"
