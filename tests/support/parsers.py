"""Every parser that reads a stranger's bytes: what to call, what it may raise, what it reads.

tests/unit/test_parsers.py and scripts/fuzz_parsers.py go through this list; a new parser belongs into it.
"""

from typing import Any

from tornado.httputil import HTTPInputError

from mesh.bus import calls, frames, topic_counts, trace_call
from mesh.bus.discovery import placement
from mesh.bus.zeromq import failover
from mesh.errors import (
    ChannelError,
    DecodeError,
    RemoteProtocolError,
    SettingsError,
    TokenError,
    TopicError,
    WebSocketError,
    WireError,
)
from mesh.gateway.http import cookies, idempotency, proxy_protocol, requests
from mesh.gateway.http.params import decode_query
from mesh.gateway.http.requests import RequestError
from mesh.gateway.transports.admission import RefusedError
from mesh.gateway.transports.longpoll import calls as longpoll_calls
from mesh.history import contract
from mesh.history import messages as history_messages
from mesh.link import commands
from mesh.protocol import payloads
from mesh.protocol.messages import JSON, MSGPACK
from mesh.protocol.serializers.registry import negotiate
from mesh.tracker import messages as tracker_messages
from mesh.worker.channel.assigns import decode_assigns
from tests.support.parser import JSON_OF, PACK, Parser, hexes
from tests.support.parsers_of_clients import (
    LONGPOLL,
    UPGRADE,
    _v1,
    _v2,
    _v2_binary,
    _v2_msgpack,
    api,
    api_key,
    client_frame,
    conversations,
    converse,
    feed,
    handshake,
    longpoll_messages,
    opening,
    serializer,
    session_of,
)
from tests.support.parsers_of_histories import (
    HISTORY_JOINS,
    HISTORY_LOGS,
    HISTORY_PAGES,
    HISTORY_QUERIES,
    HISTORY_QUESTIONS,
    history_logs,
    history_of_join,
    history_page,
    history_query,
    recorded_seeds,
)
from tests.support.parsers_of_nodes import (
    FORWARDED,
    KEY,
    ORIGINS,
    POSTED,
    PROXY_HEADERS,
    TOKEN,
    TRACKER,
    address,
    bus_message,
    bus_seeds,
    forwarded,
    key_file,
    origin,
    payloads_of,
    server_message,
    token,
    track,
)

PARSERS = [
    Parser("assigns", decode_assigns, (WireError,), [PACK({"user_id": 1})], PACK),
    serializer("v1_json", False, _v1),
    serializer("v2_json", False, _v2),
    serializer("v2_json", True, _v2_binary),
    serializer("v2_msgpack", True, _v2_msgpack),
    Parser("session", converse, (), conversations()),
    Parser(
        "websocket frames",
        feed,
        (WebSocketError,),
        [
            client_frame(1, b"text"),
            client_frame(2, bytes(200)),
            client_frame(9, b"p") + client_frame(8, b"\x03\xe8"),
        ],
    ),
    Parser(
        "query",
        lambda data: decode_query(data.decode("latin1")),
        (RemoteProtocolError,),
        [b"a=1&b[c]=2&b[]=%C3%BC+"],
    ),
    Parser(
        "cookies",
        lambda data: list(cookies.candidates(data.decode("latin1").split("\n"), "session")),
        (),
        [b'session="a\\073"; b=1\nsession=2'],
    ),
    Parser(
        "vsn",
        lambda data: negotiate(data.decode("latin1")),
        (RemoteProtocolError,),
        [b"2.0.0", b"1.0.1-rc.1+b"],
    ),
    Parser("upgrade", handshake("websocket", True), (RefusedError, HTTPInputError), [UPGRADE]),
    Parser(
        "upgrade, origin conn", handshake("websocket", "conn"), (RefusedError, HTTPInputError), [UPGRADE]
    ),
    Parser("longpoll request", handshake("longpoll", False), (RefusedError, HTTPInputError), [LONGPOLL]),
    Parser("longpoll body", longpoll_messages, (HTTPInputError,), [LONGPOLL]),
    Parser("origin", origin(["//*.example.com", "https://example.com:8443"]), (), ORIGINS),
    Parser("origin conn", origin("conn"), (), ORIGINS),
    Parser("forwarded", forwarded, (), FORWARDED),
    Parser("proxy header", proxy_protocol.read, (RemoteProtocolError,), PROXY_HEADERS),
    Parser("token", token, (TokenError,), [TOKEN]),
    Parser("session cookie", session_of, (), [b"eyJhIjoxfQ.Zx.abc", TOKEN]),
    Parser("api key", api_key, (), [b"Bearer key", b"bearer  x"]),
    Parser("api broadcast", api("broadcast"), (requests.RequestError,), POSTED),
    Parser(
        "api batch",
        api("broadcast_batch"),
        (requests.RequestError,),
        [b'{"messages":[' + POSTED[0] + b"]}"],
    ),
    Parser("api disconnect", api("disconnect"), (requests.RequestError,), [b'{"socket_id":"users:1"}']),
    Parser(
        "zeromq opening",
        opening,
        (RefusedError,),
        [b'{"path":"/socket","params":{"vsn":"2.0.0","format":"msgpack"}}'],
    ),
    Parser(
        "payload json",
        lambda data: payloads.decode(JSON, data),
        (DecodeError,),
        [b'{"a":[1,2.5,null,"\xc3\xbc"]}'],
        JSON_OF,
    ),
    Parser(
        "payload msgpack",
        lambda data: payloads.decode(MSGPACK, data),
        (DecodeError,),
        [PACK({"a": [1, b"b"]})],
        PACK,
    ),
    Parser("bus message", bus_message, (WireError, TopicError), bus_seeds()),
    Parser(
        "bus direct",
        frames.decode_direct,
        (WireError, TopicError),
        [b"room:1\0{}"],
        lambda read: frames.encode_direct(*read),
    ),
    Parser(
        "announcement", placement.decode, (WireError,), payloads_of(frames.ANNOUNCEMENT), placement.encode
    ),
    Parser("move", failover.decode, (WireError,), [PACK((1, True, 0))], PACK),
    Parser("call", calls.decode, (WireError,), [PACK((1, b"question"))], PACK),
    Parser("recorded message", bus_message, (WireError, TopicError), recorded_seeds()),
    Parser("history question", contract.decode_query, (WireError,), HISTORY_QUESTIONS, PACK),
    Parser("history answer", history_page, (WireError,), HISTORY_PAGES, PACK),
    Parser("history logs", history_logs, (WireError,), HISTORY_LOGS, PACK),
    Parser("history given", history_messages.decode_given, (WireError,), [PACK([True])], PACK),
    Parser("history view", history_messages.decode_settled, (WireError,), [PACK(("w", "d1" * 12))], PACK),
    Parser(
        "history release",
        history_messages.decode_release,
        (WireError,),
        [PACK(history_messages.Release("w", ["room:1"]))],
        PACK,
    ),
    Parser("history topic", history_messages.decode_topic, (WireError,), [PACK("room:1")], PACK),
    Parser("history of a join", history_of_join, (DecodeError, ChannelError), HISTORY_JOINS),
    Parser("history query string", history_query, (RequestError,), HISTORY_QUERIES),
    Parser(
        "topics question",
        topic_counts.decode_question,
        (WireError,),
        [PACK(topic_counts.Question("room:", False, 9))],
        PACK,
    ),
    Parser(
        "topics answer",
        topic_counts.decode_answer,
        (WireError,),
        [PACK(topic_counts.TopicCounts([("room:1", 2)], 1))],
        PACK,
    ),
    Parser(
        "trace question",
        trace_call.decode_question,
        (WireError,),
        [PACK(trace_call.Question("t", "room:1", "", 1.5, 9))],
        PACK,
    ),
    Parser(
        "trace answer",
        trace_call.decode_answer,
        (WireError,),
        [
            PACK(
                trace_call.TraceAnswer(
                    2, [trace_call.Outcome("w", 1, "e", 7, 0.5, 3, 2, {}, {"slow": 1}, 0, 0)]
                )
            )
        ],
        PACK,
    ),
    Parser(
        "longpoll polled", longpoll_calls.decode_polled, (WireError,), [PACK(None), PACK([b"[]"])], PACK
    ),
    Parser("longpoll unread", longpoll_calls.decode_unread, (WireError,), [PACK(("id", [b"[]"]))], PACK),
    Parser(
        "longpoll post", longpoll_calls.decode_post, (WireError,), [PACK(("id", [(b"[]", False)]))], PACK
    ),
    Parser(
        "longpoll status",
        longpoll_calls.decode_status,
        (WireError,),
        [b"200", b"410"],
        lambda status: b"%d" % status,
    ),
    Parser(
        "idempotency key",
        idempotency.decode,
        (WireError,),
        [idempotency.encode(b"f" * 16, 3)],
        lambda read: idempotency.encode(*read),
    ),
    Parser("tracker", track, (WireError,), TRACKER, tracker_messages.encode),
    Parser(
        "link to worker",
        commands.decode_to_worker,
        commands.UNREADABLE,
        hexes("link", direction="to_worker"),
        commands.encode_batch,
    ),
    Parser(
        "link to gateway",
        commands.decode_to_gateway,
        commands.UNREADABLE,
        hexes("link", direction="to_gateway"),
        commands.encode_batch,
    ),
    Parser(
        "client json",
        server_message("json", False),
        (DecodeError,),
        hexes("client", serializer="v2_json", binary=False, direction="to_client"),
    ),
    Parser(
        "client binary",
        server_message("json", True),
        (DecodeError,),
        hexes("client", serializer="v2_json", binary=True, direction="to_client"),
    ),
    Parser(
        "client msgpack",
        server_message("msgpack", True),
        (DecodeError,),
        hexes("client", serializer="v2_msgpack", direction="to_client"),
    ),
    Parser("key file", key_file, (SettingsError,), [KEY]),
    Parser(
        "address", address, (SettingsError,), [b"tcp://127.0.0.1:5550", b"ipc:///tmp/a", b"tcp://[::1]:*"]
    ),
]
"""All of them."""

BY_PARSER = {each.name: each for each in PARSERS}


def read(parser: Parser, data: bytes) -> Any:
    """What the parser reads; the exception, if it is one that it may raise."""
    try:
        return parser.call(data)
    except parser.raises as error:
        return error


def together(parsers: dict[str, Parser]) -> Parser:
    """One parser for all: the first byte chooses which of them reads the rest."""
    every = list(parsers.values())

    def call(data: bytes) -> Any:
        if data:
            read(every[data[0] % len(every)], data[1:])

    seeds = [bytes([number]) + seed for number, each in enumerate(every) for seed in each.seeds]
    return Parser("all together", call, (), seeds)
