"""JSON that was changed at random, for readers that must survive it."""

TOKENS = [
    b'"', b"\\u", b"\\ud800", b"\\udc00", b"[", b"]", b"{", b"}", b",", b":", b"null", b"1e999", b"-", b"0", b".5",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\0", b"\\", b" ", b"\x7f", b"\xef\xbb\xbf", b"9.9e307", b"E5",
]  # fmt: skip


def mutated(chance, data):
    """`data` with up to three changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(0, 3)):
        at, kind = chance.randint(0, len(changed)), chance.randrange(4)
        if kind == 0 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.choice(TOKENS)
        elif kind == 2:
            del changed[at : at + chance.randint(1, 4)]
        else:
            changed[at:at] = changed[at : at + 5]
    return bytes(changed)
