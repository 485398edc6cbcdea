"""The script of docs/guides/deployment.md, with a systemctl that is ours: nobody notices, as with `mesh cluster`."""

import asyncio
import contextlib
import os
import re
import stat
import sys

import pytest

from mesh.client import Client, ClientError
from tests.support.processes import ROOT, Process
from tests.support.proxy import free_address
from tests.support.until import PATIENCE, until
from tests.support.websocket import run

APP = "tests.support.moving_app:endpoint"
PAGE = ROOT / "docs" / "guides" / "deployment.md"
UNITS = [f"mesh-{kind}@{number}" for kind in ("proxy", "worker", "gateway") for number in (1, 2)]
SYSTEMCTL = """#!/bin/sh
test "$1" = restart
echo "$2" > "$REQUESTS/new" && mv "$REQUESTS/new" "$REQUESTS/unit"
while [ -e "$REQUESTS/unit" ]; do sleep 0.02; done
"""
MESH = f"""#!/bin/sh
exec "{sys.executable}" -m mesh "$@"
"""


def script():
    (found,) = re.findall(r"^```sh\n(set -e\n.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert all(unit in found for unit in UNITS)
    return found


def free_port():
    return int(free_address().rpartition(":")[2])


class Machine:
    """Six units, and a systemctl that restarts one of them."""

    def __init__(self, directory):
        self.directory, self.restarted = directory, []
        self.logs, self.bin = directory / "logs", directory / "bin"
        self.requests = directory / "requests"
        for each in (self.logs, self.bin, self.requests):
            each.mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("mesh", MESH)):
            path = self.bin / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.proxies = [f"ipc://{directory}/proxy{number}" for number in (1, 2)]
        self.ports = [free_port(), free_port()]
        self.env = {
            "MESH_BUS__PROXIES": ",".join(self.proxies),
            "MESH_LINK__BIND": "tcp://127.0.0.1:*",
            "MESH_SECURITY__SECRET_KEY": "the same for all of these nodes",
            "MESH_DRAIN__INTERVAL_SECONDS": "0.1",
        }
        self.nodes = {unit: self.start(unit) for unit in UNITS}
        self.started = list(self.nodes.values())

    def start(self, unit):
        kind, number = re.match(r"mesh-(\w+)@(\d)", unit).groups()
        arguments = {
            "proxy": ["--bind", self.proxies[int(number) - 1]],
            "worker": [APP],
            "gateway": [APP, "--port", str(self.ports[int(number) - 1])],
        }[kind]
        return Process(self.logs, kind, *arguments, env=self.env)

    @property
    def urls(self):
        return [f"ws://127.0.0.1:{port}/socket" for port in self.ports]

    async def systemctl(self):
        """Do what the script asks for."""
        request = self.requests / "unit"
        while True:
            await until(request.exists)
            unit = request.read_text().strip()
            assert await asyncio.to_thread(self.nodes[unit].stop) == 0, self.nodes[unit].log()
            self.nodes[unit] = self.start(unit)
            self.started.append(self.nodes[unit])
            self.restarted.append(unit)
            request.unlink()

    async def run(self, text):
        for number, port in enumerate(self.ports, 1):
            text = text.replace(f"http://127.0.0.1:400{number}", f"http://127.0.0.1:{port}")
        for number, address in enumerate(self.proxies, 1):
            text = text.replace(f"tcp://127.0.0.1:55{number}0", address)
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", text, cwd=ROOT,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "REQUESTS": str(self.requests)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    def close(self):
        for node in reversed(list(self.nodes.values())):
            node.stop()


class Pusher:
    """Pushes numbers, each acknowledged with how many its channel has counted."""

    def __init__(self, room):
        self.room, self.states, self.counted, self.lost, self.ended = room, [], [], 0, False
        room.on_state(lambda state, reason: self.states.append((state, reason)))
        room.on("restored", lambda payload: None)

    async def run(self):
        number = 0
        while not self.ended:
            number += 1
            try:
                reply = await self.room.push("n", {"n": number}, timeout_seconds=PATIENCE)
            except ClientError:  # its gateway stops: nobody was told that it is done
                self.lost += 1
            else:
                self.counted.append(reply["counted"])
            await asyncio.sleep(0.02)  # the pace


@pytest.mark.timeout(1100)
def test_the_documented_script_restarts_every_node_and_the_workers_go_unnoticed(tmp_path):
    machine = Machine(tmp_path)
    try:
        run(scenario(machine), 1000)
    finally:
        machine.close()
    assert not any("channel crashed" in each.log() for each in machine.started)


async def scenario(machine):
    code, said = await machine.run(script().partition("for unit")[0] + "wait_until_ready")
    assert code == 0, said
    async with contextlib.AsyncExitStack() as stack:
        pushers = []
        for number in range(6):
            client = Client(machine.urls[number % 2], reconnect_seconds=(0.1,), rejoin_seconds=(0.1,))
            await stack.enter_async_context(client)
            pushers.append(Pusher(await client.join(f"count:{number}")))
        tasks = [asyncio.create_task(each.run()) for each in pushers]
        systemctl = asyncio.create_task(machine.systemctl())
        running = asyncio.create_task(machine.run(script()))
        await until(lambda: machine.restarted == UNITS[:4] or running.done(), 500)
        counted = [list(each.counted) for each in pushers]
        assert machine.restarted == UNITS[:4], running
        assert [each.states for each in pushers] == [[]] * 6, "proxies and workers: nobody noticed"
        for each in counted:
            assert each == list(range(1, len(each) + 1))
            assert len(each) > 50
        code, said = await running
        assert code == 0, said
        assert machine.restarted == UNITS
        for each in pushers:
            states = [state for state, _ in each.states]
            assert states.count("joined") == 1, "its gateway restarted once"
            assert each.lost <= 1, "at most the push that was under way"
        seen = [len(each.counted) for each in pushers]
        await until(lambda: all(len(each.counted) > s for each, s in zip(pushers, seen, strict=True)))
        for each in pushers:
            each.ended = True
        await asyncio.gather(*tasks)
        systemctl.cancel()


def test_a_mesh_that_is_not_whole_is_said_so(tmp_path):
    (tmp_path / "logs").mkdir()
    address = free_address()
    proxy = Process(tmp_path / "logs", "proxy", "--bind", address)
    try:
        waiting = Process(
            tmp_path / "logs", "wait", "--workers", "1", "--gateway", "http://127.0.0.1:1", "--seconds", "2",
            "--proxy", address,
        )  # fmt: skip
        assert waiting.popen.wait(400) == 1
        assert "the cluster is not ready after 2 seconds" in waiting.log()
    finally:
        proxy.stop()
