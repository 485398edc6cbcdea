"""What has arrived on a Tornado stream, and putting bytes back into it."""

import select

from tornado.iostream import IOStream


def readable(stream: IOStream) -> bool:
    """Return whether unread bytes, or the end of the stream, have arrived."""
    if stream.closed():
        return False
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLIN)
    return stream._read_buffer_size > 0 or bool(poll.poll(0))


def unread(stream: IOStream, data: bytes) -> None:
    """Put bytes back into a stream, to be read next."""
    stream._read_buffer[:0] = data
    stream._read_buffer_size += len(data)
