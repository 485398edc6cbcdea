"""mesh/link/commands.py: batches of commands, and the examples of docs/protocol.md."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.link import commands

NUMBER = st.integers(0, 2**50)
TEXT = st.text(max_size=8)
REF = st.none() | TEXT | st.integers(-5, 5)
DATA = st.binary(max_size=8)
CODEC = st.integers(0, 2)
TO_WORKER = st.one_of(
    st.builds(commands.Hello, NUMBER, TEXT, st.none() | NUMBER),
    st.builds(commands.Join, NUMBER, TEXT, TEXT, REF, st.none() | TEXT, TEXT, TEXT, DATA, CODEC, DATA),
    st.builds(commands.Push, NUMBER, REF, REF, CODEC, DATA),
    st.builds(commands.Leave, NUMBER, REF),
    st.builds(commands.Replace, NUMBER),
    st.builds(commands.SocketDown, st.lists(NUMBER), TEXT),
)
TO_GATEWAY = st.one_of(
    st.builds(commands.Welcome, NUMBER, TEXT),
    st.builds(commands.Joined, NUMBER, st.lists(TEXT).map(tuple), NUMBER, CODEC, DATA),
    st.builds(commands.Refused, NUMBER, CODEC, DATA),
    st.builds(commands.Reply, NUMBER, NUMBER, REF, TEXT, CODEC, DATA),
    st.builds(commands.Pushed, NUMBER, NUMBER, TEXT, CODEC, DATA),
    st.builds(commands.Closed, NUMBER, NUMBER),
    st.builds(commands.Crashed, NUMBER, NUMBER),
    st.builds(commands.Ping),
    st.builds(commands.Incompatible, NUMBER, NUMBER),
)


@given(st.lists(TO_WORKER, max_size=5))
def test_batches_to_a_worker_round_trip(batch):
    assert commands.decode_to_worker(commands.encode_batch(batch)) == batch


@given(st.lists(TO_GATEWAY, max_size=5))
def test_batches_to_a_gateway_round_trip(batch):
    assert commands.decode_to_gateway(commands.encode_batch(batch)) == batch


@given(st.binary(max_size=40))
def test_garbage_is_unreadable_and_nothing_else(data):
    for decode in (commands.decode_to_worker, commands.decode_to_gateway):
        try:
            decode(data)
        except commands.UNREADABLE:
            pass


def test_the_documented_bytes():
    assert commands.encode_batch([commands.Hello(1, "g", 1)]).hex(" ") == "91 94 00 01 a1 67 01"
    push = commands.Push(1, "2", "e", 0, b"{}")
    assert commands.encode_batch([push]).hex(" ") == "91 96 03 01 a1 32 a1 65 00 c4 02 7b 7d"
