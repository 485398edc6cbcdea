"""What a meta may be, and the copies of metas that applications are given."""

from mesh import payloads
from mesh.errors import DecodeError, PayloadError
from mesh.messages import MSGPACK
from mesh.serializers import envelope
from mesh.tracker import messages
from mesh.tracker.state import Meta

MAX_META_BYTES = 10_000


def checked(meta: Meta) -> Meta:
    """As every replica will see it: plain JSON values, which other workers can be told.

    Raises:
        PayloadError: if it is no object of such values, or over 10,000 bytes.
    """
    codec, data = payloads.encode_object(meta)
    if len(data) > MAX_META_BYTES:
        raise PayloadError(
            f"a meta of {len(data)} bytes; every worker keeps it, so {MAX_META_BYTES} may be"
        )
    plain: Meta = payloads.decode(codec, data)
    try:
        envelope.check_payload(data, plain)
        messages.encode(plain)  # JSON has integers that msgpack, in which workers speak, has not
    except (DecodeError, *messages.UNENCODABLE) as error:
        raise PayloadError(f"a meta that other workers cannot be told: {error}") from None
    return plain


def copied(meta: Meta) -> Meta:
    """For the application, which may write into it: the original is what this worker tells the others.

    A shallow copy would not do, because values may be lists and objects; by way of msgpack they are copied
    however deep they nest.
    """
    copy = meta.copy()
    for key, value in meta.items():
        if type(value) in (dict, list):
            copy[key] = payloads.decode(MSGPACK, messages.encode(value))
    return copy


def copied_keys(keys: dict[str, list[Meta]]) -> dict[str, list[Meta]]:
    """Key → copies of its metas."""
    return {key: [copied(meta) for meta in metas] for key, metas in keys.items()}
