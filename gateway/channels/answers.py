"""The error payloads that the gateway itself sends to clients, as JSON. Pure.

`unmatched topic` and `join crashed` are Phoenix.Socket's; Phoenix has no counterpart of the others.
"""

UNMATCHED = b'{"reason":"unmatched topic"}'
TOO_MANY = b'{"reason":"too many channels joined"}'
UNAVAILABLE = b'{"reason":"unavailable"}'
JOIN_CRASHED = b'{"reason":"join crashed"}'
INVALID_REPLY = b'{"reason":"invalid reply"}'
CHANNEL_CRASH = b'{"reason":"channel_crash"}'
TOO_LONG = b'{"reason":"event too long"}'
