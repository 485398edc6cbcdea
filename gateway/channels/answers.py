"""What a gateway itself answers to a client, as JSON payloads. Pure.

Sources: Phoenix.Socket (`unmatched topic`, `join crashed`), Phoenix.Channel.Server; the others are ours.
"""

UNMATCHED = b'{"reason":"unmatched topic"}'
TOO_MANY = b'{"reason":"too many channels joined"}'
UNAVAILABLE = b'{"reason":"unavailable"}'
JOIN_CRASHED = b'{"reason":"join crashed"}'
INVALID_REPLY = b'{"reason":"invalid reply"}'
CHANNEL_CRASH = b'{"reason":"channel_crash"}'
TOO_LONG = b'{"reason":"event too long"}'
