"""nodes/cluster/local_cluster.py: the commands, ports and addresses of a cluster's nodes, and its status file."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from mesh import settings
from mesh.errors import NodeError
from mesh.nodes.cluster.local_cluster import Cluster


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make(tmp_path):
    made = []

    def cluster(gateways=2, workers=1, status_file=None, **gateway):
        loaded = settings.load(flags={"gateway": {"port": 0, **gateway}})
        made.append(Cluster("app:endpoint", loaded, gateways, workers, 2, tmp_path, status_file))
        return made[-1]

    yield cluster
    for each in made:
        each.close()


def children(cluster):
    return [*cluster._proxies, *cluster._workers, *cluster._gateways]


def test_gateways_share_one_port_and_have_one_each(make):
    one, two = (each.environment() for each in make()._gateways)
    assert one["MESH_GATEWAY__PORT"] == two["MESH_GATEWAY__PORT"]
    ports = {one["MESH_GATEWAY__PORT"], one["MESH_GATEWAY__OWN_PORT"], two["MESH_GATEWAY__OWN_PORT"]}
    assert len(ports) == 3
    assert "0" not in ports
    assert one["MESH_GATEWAY__REUSE_PORT"] == "true"


def test_the_kept_port_refuses_nobody_and_answers_nobody(make):
    port = make()._port
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0
    with socket.socket() as gateway:
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        gateway.bind(("127.0.0.1", port))


def test_a_worker_that_starts_again_listens_on_a_fresh_path(make):
    (worker,) = make()._workers
    first = worker.environment()["MESH_LINK__BIND"]
    worker.starts += 1
    assert worker.environment()["MESH_LINK__BIND"] != first


def test_gateways_stop_before_workers_and_workers_before_the_proxy(make):
    cluster = make()
    ranks = [cluster._gateways[0].stop_rank, cluster._workers[0].stop_rank, cluster._proxies[0].stop_rank]
    assert ranks == sorted(set(ranks))


def test_every_node_gets_the_settings_and_reads_no_file_of_its_own(make, monkeypatch):
    cluster = make(max_frame_bytes=777)
    Path("mesh.toml").write_text("[gateway]\nprot = 1\n")
    for child in children(cluster):
        assert child.command()[:3] == [sys.executable, "-m", "mesh"]
        with monkeypatch.context() as patch:
            for name, value in child.environment().items():
                patch.setenv(name, value)
            loaded = settings.load()
        assert loaded.gateway.max_frame_bytes == 777
        assert loaded.bus.proxies[0].startswith("ipc://")


def test_an_own_port_beyond_the_last_one_is_one_sentence(make):
    with pytest.raises(NodeError, match=r"cannot listen on 127\.0\.0\.1:65536"):
        make(port=65535, gateways=1)


def test_a_status_file_in_a_directory_that_is_missing_stops_before_anything_starts(make, tmp_path):
    cluster = make(status_file=tmp_path / "missing" / "status.json")
    with pytest.raises(NodeError, match="cannot write"):
        asyncio.run(cluster.run())
    assert [child.starts for child in children(cluster)] == [0, 0, 0, 0, 0]


def test_the_status_file_names_every_node(make, tmp_path):
    directory = tmp_path / "status"
    directory.mkdir()
    cluster = make(status_file=directory / "status.json")
    cluster._write_status()
    status = json.loads((directory / "status.json").read_text())
    assert [each["name"] for each in status["gateways"]] == ["gateway.1", "gateway.2"]
    assert status["url"] == f"http://127.0.0.1:{cluster._port}"
    assert os.listdir(directory) == ["status.json"]
