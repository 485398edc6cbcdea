"""tests/vectors/zeromq.json, word for word against a running gateway."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.processes import serve
from tests.support.until import PATIENCE
from tests.support.websocket import run
from tests.support.zeromq import Dealer

CONVERSATIONS = json.loads((Path(__file__).parents[1] / "vectors" / "zeromq.json").read_text())


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    env = {"MESH_ZEROMQ__BIND": "tcp://127.0.0.1:*", "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "60"}
    with serve(tmp_path_factory.mktemp("vectors"), "examples.conformance:endpoint", env=env) as (
        process,
        _,
    ):
        yield process.wait_for(r"zeromq +(tcp://\S+)")[1]


def contains(got, wanted):
    """An object has at least the wanted keys; all else is equal."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(key in got and got[key] == wanted[key] for key in wanted)
    return got == wanted


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda each: each["id"])
def test_a_conversation(address, conversation):
    async def scenario():
        dealer = Dealer(address)
        for step in conversation["steps"]:
            if "send" in step:
                dealer.send(*(each.encode() for each in step["send"]))
                continue
            kind, wanted = step["expect"]
            async with asyncio.timeout(PATIENCE):
                got = [b"P", b""]
                while got == [b"P", b""]:  # the gateway's own question, which wants no answer
                    got = await dealer.recv()
            assert got[0] == kind.encode(), got
            if isinstance(wanted, dict) and wanted.keys() == {"text"}:
                assert got[1].decode() == wanted["text"]
            else:
                assert contains(json.loads(got[1]), wanted), got

    run(scenario())
