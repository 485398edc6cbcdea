"""Topics, and the ZeroMQ subscriptions for them.

A topic is any string. On the bus it is followed by a NUL byte, so that a subscription to the exact topic
`room:1` does not also match `room:10`, because ZeroMQ matches prefixes (ZeroMQ RFC 29). Topics that start
with `$` are reserved for the mesh.
"""

from mesh.errors import TopicError

RESERVED = "$"
NODES = "$nodes"
"""The topic on which nodes announce themselves."""
SYNC = "$sync"
"""The prefix of the topics of barrier probes."""
PRESENCE = "$presence"
"""The prefix of the topics on which the replicas of a Tracker communicate."""
MOVES = "$moves"
"""The topic on which publishers announce that topics move to another proxy."""
ONCE = "$once"
"""The topic on which gateways tell each other about Idempotency-Keys."""
JOINS = "$joins"
"""The topic on which gateways tell each other about topics whose joins have ended workers."""
NODE = "$node"
"""The prefix of the topics that address a single node."""

TERMINATOR = b"\x00"

MAX_TOPIC_BYTES = 4_096
"""Each topic is a subscription in the proxy. Phoenix has no limit, but longer topics are not needed."""


def is_reserved(topic: str) -> bool:
    """Return whether `topic` is reserved for the mesh and closed to clients and applications."""
    return topic.startswith(RESERVED)


def check(topic: object) -> str:
    """Return `topic` if an application may use it.

    Raises:
        TopicError: if it is not a string, starts with `$`, contains NUL, is not valid UTF-8, or has more
            than 4,096 bytes.
    """
    if not isinstance(topic, str):
        raise TopicError(f"topic {topic!r:.100} is not a string")
    if len(topic) > MAX_TOPIC_BYTES or (not topic.isascii() and _utf8_size(topic) > MAX_TOPIC_BYTES):
        raise TopicError(
            f"topic {topic[:32]!r}… is {_utf8_size(topic)} bytes long; at most {MAX_TOPIC_BYTES}"
        )
    if topic.startswith(RESERVED):
        raise TopicError(f"topic {topic!r} starts with '$', which is reserved for the mesh itself")
    if "\x00" in topic:
        raise TopicError(f"topic {topic!r} contains NUL, which ends a topic on the bus")
    if not _is_utf8(topic):
        raise TopicError(f"topic {topic!r} has a lone surrogate and cannot be UTF-8")
    return topic


def check_pattern(pattern: object) -> str:
    """Return `pattern` if it can be subscribed to: a topic, or a prefix followed by `*`.

    Raises:
        TopicError: as `check`, and for a `*` that is not at its end.
    """
    text = check(pattern)
    if "*" in text[:-1]:
        raise TopicError(f"pattern {text!r} has a '*' that is not at its end; want 'room:1' or 'room:*'")
    return text


def of_sync(node: str) -> str:
    """Return the topic of the probes by which a node finds out which proxies work."""
    return f"{SYNC}:{node}"


def of_node(node: str) -> str:
    """Return the topic that addresses one node."""
    return f"{NODE}:{node}"


def check_node(node: object) -> str:
    """Return `node` if it is a valid node id.

    Raises:
        TopicError: if it is not a string, is empty, contains NUL, or is not valid UTF-8.
    """
    if not isinstance(node, str) or not node or "\x00" in node or not _is_utf8(node):
        raise TopicError(f"node {node!r} is not a node id; want for example endpoint.node_id")
    return node


def exact(topic: str) -> bytes:
    """Return the subscription to, and the first frame of, exactly this topic."""
    return topic.encode() + TERMINATOR


def prefix(pattern: str) -> bytes:
    """Return the subscription for a route: `room:*` matches the prefix, `room:1` the exact topic."""
    if pattern.endswith("*"):
        return pattern[:-1].encode()
    return exact(pattern)


def of_frame(frame: bytes) -> str:
    """Return the topic in a first frame.

    Raises:
        TopicError: if the terminator is missing or the topic is not UTF-8.
    """
    if frame[-1:] != TERMINATOR:
        raise TopicError(f"topic frame {frame[:64]!r} does not end in NUL")
    try:
        return str(frame[:-1], "utf-8")
    except UnicodeDecodeError:
        raise TopicError(f"topic frame {frame[:64]!r} is not UTF-8") from None


def _utf8_size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
