"""mesh/settings/history.py: where histories are kept."""

import pytest

from mesh import settings
from mesh.errors import SettingsError


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MESH_CONFIG", raising=False)


def test_histories_are_in_memory_by_default():
    loaded = settings.load().history
    assert (loaded.store, loaded.max_bytes, loaded.redis_url) == ("memory", 100_000_000, None)
    assert not loaded.publish_first


def test_the_address_of_redis_is_a_secret(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__STORE", "redis")
    monkeypatch.setenv("MESH_HISTORY__REDIS_URL", "redis://:PASSWORD@127.0.0.1:6379/0")
    loaded = settings.load().history
    assert loaded.redis_url.get_secret_value() == "redis://:PASSWORD@127.0.0.1:6379/0"
    assert "PASSWORD" not in repr(loaded)
    rows = {row.name: str(row) for row in settings.explain()}
    assert "PASSWORD" not in rows["history.redis_url"]


def test_redis_needs_an_address():
    with pytest.raises(SettingsError, match=r"REDIS_URL.*want the address of Redis"):
        settings.load({"history": {"store": "redis"}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", "postgres"),
        ("max_bytes", 99_999),
        ("wait_seconds", 0),
        ("redis_idle_seconds", -1),
        ("redis_prefix", "x" * 101),
        ("publish_first", "maybe"),
    ],
)
def test_an_invalid_value_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=f"MESH_HISTORY__{name.upper()}"):
        settings.load({"history": {name: value}})
