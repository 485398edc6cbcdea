"""What a client of Phoenix.Presence knows: state and diffs merged as phoenix.js merges them."""


class View:
    """Who is here, as one client sees it; a leave of somebody unknown, or a second join, is no error there
    either, so `ghosts` are found by comparing views with the truth."""

    def __init__(self):
        self.metas = None
        self.pending = []
        self.diffs = []

    def take(self, message):
        event, payload = message[3], message[4]
        if event == "presence_state":
            self.metas = {key: list(each["metas"]) for key, each in payload.items()}
            for diff in self.pending:
                self._merge(diff)
            self.pending = []
        elif event == "presence_diff":
            self.diffs.append(payload)
            if self.metas is None:
                self.pending.append(payload)
            else:
                self._merge(payload)

    def _merge(self, diff):
        for key, each in diff["joins"].items():
            new = {meta["phx_ref"] for meta in each["metas"]}
            old = [meta for meta in self.metas.get(key, []) if meta["phx_ref"] not in new]
            self.metas[key] = old + each["metas"]
        for key, each in diff["leaves"].items():
            gone = {meta["phx_ref"] for meta in each["metas"]}
            left = [meta for meta in self.metas.get(key, []) if meta["phx_ref"] not in gone]
            if left:
                self.metas[key] = left
            else:
                self.metas.pop(key, None)

    def here(self, field="n"):
        return {key: sorted(meta[field] for meta in metas) for key, metas in (self.metas or {}).items()}
