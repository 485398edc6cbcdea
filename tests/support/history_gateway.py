"""A gateway whose channel room:1 has a history, with the messages of docs/protocol.md byte for byte."""

import json

from tests.support.fake_gateway import FakeGateway

EPOCH, OTHER = "k3v9a0b1c2d3", "z9y8x7w6v5u4"


class HistoryGateway(FakeGateway):
    """Says what a test wants a history to say."""

    def text(self, message):
        self.send(b"T", message.encode())

    def join(self):
        """(join_ref, payload) of the next join."""
        message = self.message()
        assert message[2:4] == ["room:1", "phx_join"], message
        return message[0], message[4]

    def accept(self, join_ref):
        self.text(f'["{join_ref}","{join_ref}","room:1","phx_reply",{{"status":"ok","response":{{}}}}]')

    def state(self, join_ref, offset, recovered=True, count=0, epoch=EPOCH):
        recovered = json.dumps(recovered)
        payload = f'{{"epoch":"{epoch}","offset":{offset},"recovered":{recovered},"count":{count}}}'
        self.text(f'["{join_ref}",null,"room:1","history_state",{payload}]')

    def answer(self, offset, recovered=True, count=0, epoch=EPOCH):
        """Answer the next join; returns its payload."""
        join_ref, payload = self.join()
        self.accept(join_ref)
        self.state(join_ref, offset, recovered, count, epoch)
        return payload

    def broadcast(self, *offsets, epoch=EPOCH):
        for offset in offsets:
            self.text(f'[null,"{epoch}:{offset}","room:1","new_msg",{{"n":{offset}}}]')

    def not_kept(self, n):
        self.text(f'[null,null,"room:1","new_msg",{{"n":{n}}}]')

    def announce(self, offset, event):
        payload = f'{{"epoch":"{EPOCH}","offset":{offset},"event":"{event}"}}'
        self.text(f'[null,null,"room:1","history_position",{payload}]')

    def own(self, offset):
        """In the place of what the client itself has broadcast."""
        payload = f'{{"epoch":"{EPOCH}","offset":{offset}}}'
        self.text(f'[null,null,"room:1","history_position",{payload}]')

    def binary(self, event, data):
        name = event.encode()
        self.send(b"B", bytes([2, 6, len(name)]) + b"room:1" + name + data)

    def cut(self):
        """End the connection and let the client in again."""
        self.send(b"C", b'{"code":1012,"reason":"restart"}')
        self.opened()
