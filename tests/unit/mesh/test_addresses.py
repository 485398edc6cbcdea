"""mesh/addresses.py: which ZeroMQ addresses are ones, and which stay on this machine."""

import pytest

from mesh.addresses import advertised_address, check_address, is_local, subscribe_address
from mesh.errors import SettingsError


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:5550",
        "tcp://[::1]:5550",
        "tcp://proxy.internal:1",
        "tcp://127.0.0.1:*",
        "ipc:///tmp/x",
        "inproc://x",
    ],
)
def test_addresses_that_can_be_used(address):
    assert check_address(address, "S") == address


@pytest.mark.parametrize(
    "address",
    [
        "tcp:/10.0.0.1:5550",
        "tcp://host",
        "tcp://host:99999",
        "tcp://host:0",
        "tcp://host:65535",
        "udp://h:1",
        "",
        "ipc://",
        "ipc://" + "x" * 105,
    ],
)
def test_addresses_that_cannot_are_named_with_the_setting(address):
    with pytest.raises(SettingsError, match="MESH_BUS__PROXIES"):
        check_address(address, "MESH_BUS__PROXIES")


def test_the_subscribers_side_is_the_next_port_or_path():
    assert subscribe_address("tcp://127.0.0.1:5550") == "tcp://127.0.0.1:5551"
    assert subscribe_address("ipc:///run/mesh") == "ipc:///run/mesh.sub"


@pytest.mark.parametrize(
    ("address", "local"),
    [("tcp://127.0.0.1:1", True), ("tcp://127.9.9.9:1", True), ("tcp://localhost:1", True), ("tcp://[::1]:1", True),
     ("ipc://x", True), ("inproc://x", True), ("tcp://0.0.0.0:1", False), ("tcp://*:1", False), ("tcp://10.0.0.1:1", False),
     ("tcp://[::]:1", False), ("tcp://example.com:1", False)],
)  # fmt: skip
def test_addresses_of_this_machine_are_told_from_others(address, local):
    assert is_local(address) is local


@pytest.mark.parametrize(
    ("bound", "host", "named"),
    [("tcp://10.0.0.1:5", None, "tcp://10.0.0.1:5"), ("tcp://0.0.0.0:5", "worker-1", "tcp://worker-1:5"),
     ("tcp://[::]:5", "fd00::1", "tcp://[fd00::1]:5"), ("ipc:///run/w", "worker-1", "ipc:///run/w")],
)  # fmt: skip
def test_what_listens_on_all_addresses_is_named_by_one(bound, host, named):
    assert advertised_address(bound, host) == named


@pytest.mark.parametrize("bound", ["tcp://0.0.0.0:5", "tcp://*:5", "tcp://[::]:5"])
def test_what_listens_on_all_addresses_must_be_told_its_name(bound):
    with pytest.raises(SettingsError, match="MESH_LINK__ADVERTISE_HOST"):
        advertised_address(bound, None)
