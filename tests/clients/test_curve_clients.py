"""Every client that we ship, over an encrypted connection to one gateway with keys of its own, in one room."""

import asyncio
import contextlib

import pytest

from mesh.client import Client
from mesh.zeromq.keys import KeyDirectory
from tests.clients.test_node_client import programs  # noqa: F401  (a fixture)
from tests.support.c_client import CLIENT, Program
from tests.support.processes import node
from tests.support.until import PATIENCE

SCRIPT = """
import { connect } from "channelmesh-node"
const [address, serverKey] = process.argv.slice(2)
const socket = await connect(address, { params: { user: "Node" }, serverKey })
const channel = socket.channel("room:lobby")
channel.on("new_msg", ({ user, body }) => console.log(`${user}: ${body}`))
await channel.join()
await channel.push("new_msg", { body: "from Node" })
process.stdin.on("end", () => socket.disconnect())
process.stdin.resume()
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """(address, public key) of a chat's gateway that listens on all addresses."""
    directory = tmp_path_factory.mktemp("curve")
    key = KeyDirectory(directory / "keys").generate("gateway")
    env = {
        "MESH_SECURITY__NODE_KEY": str(key.secret),
        "MESH_SECURITY__KEYS": str(directory / "keys"),
        "MESH_ZEROMQ__BIND": "tcp://0.0.0.0:*",
    }
    with node(directory, "serve", "examples.chat:endpoint", "--port", "0", env=env) as process:
        port = process.wait_for(r"zeromq +tcp://\S+:(\d+)")[1]
        yield f"tcp://127.0.0.1:{port}", key.public.decode()


def test_a_page_of_clients_in_one_encrypted_room(gateway, programs, c_build):  # noqa: F811
    address, key = gateway
    chat = c_build.program("chat", CLIENT / "chat.c")
    (programs / "curve.mjs").write_text(SCRIPT)

    async def scenario():
        async with Client(address, path="/socket", params={"user": "Python"}, server_key=key) as client:
            room = await client.join("room:lobby")
            said = {}
            room.on("new_msg", lambda message: said.update({message["user"]: message["body"]}))
            with contextlib.ExitStack() as stack:
                others = []
                for command in (
                    (chat, "-k", key, address, "Cé"),
                    ("node", programs / "curve.mjs", address, key),
                ):
                    others.append(Program(*command))
                    stack.callback(others[-1].kill)
                c, in_node = others
                await asyncio.to_thread(c.wait, lambda line: "Cé" in line)
                c.write("from C")
                async with asyncio.timeout(PATIENCE):
                    while said.keys() < {"Cé", "Node"}:
                        await asyncio.sleep(0.01)
                await room.push("new_msg", {"body": "from Python"})
                for other in others:
                    await asyncio.to_thread(other.wait, lambda line: "from Python" in line)
                assert (await asyncio.to_thread(in_node.end), await asyncio.to_thread(c.end)) == (0, 0)
            assert said["Cé"] == "from C"
            assert said["Node"] == "from Node"

    asyncio.run(scenario())
