"""Presence: states, diffs, and whom it tells (its results are phoenix.js's: tests/clients/test_python_client.py)."""

from mesh.client.presence import Presence, sync_diff


def metas(*refs):
    return {"metas": [{"phx_ref": ref} for ref in refs]}


def refs(presence):
    return {key: [meta["phx_ref"] for meta in entry["metas"]] for key, entry in presence.state.items()}


def test_state_then_diffs_and_a_key_goes_with_its_last_meta():
    presence, told = Presence(), []
    presence.on_join(lambda key, before, came: told.append(("join", key, before is not None)))
    presence.on_leave(lambda key, now, left: told.append(("leave", key, len(now["metas"]))))
    presence.synced({"ana": metas("1"), "bo": metas("2")}, "1")
    presence.changed({"joins": {"ana": metas("3")}, "leaves": {}}, "1")
    assert refs(presence) == {"ana": ["1", "3"], "bo": ["2"]}
    presence.changed({"joins": {}, "leaves": {"ana": metas("1"), "bo": metas("2"), "cy": metas("9")}}, "1")
    assert refs(presence) == {"ana": ["3"]}
    assert told == [
        ("join", "ana", False),
        ("join", "bo", False),
        ("join", "ana", True),
        ("leave", "ana", 1),
        ("leave", "bo", 0),
    ]
    assert presence.list() == [metas("3")]
    assert presence.list(lambda key, entry: key) == ["ana"]


def test_diffs_before_the_state_of_this_join_wait_for_it():
    presence, synced = Presence(), []
    presence.on_sync(lambda: synced.append(refs(presence)))
    presence.changed({"joins": {"ana": metas("1")}, "leaves": {}}, "1")
    assert synced == []
    presence.synced({"bo": metas("2")}, "1")
    assert synced == [{"bo": ["2"], "ana": ["1"]}]
    presence.changed({"joins": {}, "leaves": {"bo": metas("2")}}, "5")  # joined again
    assert len(synced) == 1
    presence.synced({"bo": metas("2"), "cy": metas("3")}, "5")
    assert refs(presence) == {"cy": ["3"]}


def test_a_diff_that_waited_for_the_state_of_an_earlier_join_leaves_no_ghost():
    presence = Presence()
    presence.changed({"joins": {"ghost": metas("1")}, "leaves": {}}, "1")
    presence.synced({"ana": metas("0")}, "5")  # cut before the state, and joined again
    assert refs(presence) == {"ana": ["0"]}
    presence.changed({"joins": {"ghost": metas("2")}, "leaves": {}}, "7")
    presence.changed({"joins": {"bo": metas("3")}, "leaves": {"ana": metas("0")}}, "9")
    presence.synced({"ana": metas("0")}, "9")
    assert refs(presence) == {"bo": ["3"]}
    presence.synced({"bo": metas("3")}, "9")  # once more
    presence.changed({"joins": {}, "leaves": {"nobody": metas("7")}}, "9")
    presence.changed({"joins": {"bo": metas("4")}, "leaves": {}}, "9")
    assert refs(presence) == {"bo": ["3", "4"]}


def test_who_asks_late_is_told_at_once():
    presence, synced = Presence(), []
    presence.synced({}, "1")
    presence.on_sync(lambda: synced.append(1))
    assert synced == [1]


def test_a_state_that_was_read_stays_as_it_was():
    before = {"ana": metas("1")}
    after = sync_diff(before, {"joins": {"ana": metas("2")}, "leaves": {"ana": metas("1")}})
    assert before == {"ana": metas("1")}
    assert after == {"ana": metas("2")}
