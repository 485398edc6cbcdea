"""mesh/settings/: where settings come from, and one readable line per wrong one."""

from pathlib import Path

import pytest

from mesh import settings
from mesh.errors import SettingsError
from mesh.settings import Secret
from mesh.settings.fields import fields


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MESH_CONFIG", "MESH_GATEWAY__PORT"):
        monkeypatch.delenv(name, raising=False)


def test_flags_win_over_environment_over_file_over_code_over_defaults(tmp_path, monkeypatch):
    code = {"gateway": {"port": 1, "host": "code", "url_host": "code", "max_frame_bytes": 1}}
    (tmp_path / "mesh.toml").write_text('[gateway]\nport = 2\nhost = "file"\nurl_host = "file"\n')
    monkeypatch.setenv("MESH_GATEWAY__PORT", "3")
    monkeypatch.setenv("MESH_GATEWAY__HOST", "environment")
    loaded = settings.load(code, flags={"gateway": {"port": 4, "host": None}}).gateway
    assert (loaded.port, *loaded.host, loaded.url_host, loaded.max_frame_bytes) == (
        4,
        "environment",
        "file",
        1,
    )
    assert loaded.max_channels_per_socket == 100
    rows = {row.name: row for row in settings.explain(code, flags={"gateway": {"port": 4, "host": None}})}
    assert [rows[f"gateway.{name}"].origin for name in ("port", "host", "url_host", "max_frame_bytes", "own_port")] == [
        "flag", "environment", "file", "code", "default"
    ]  # fmt: skip


def test_every_setting_has_a_description_and_a_name_for_the_environment():
    for row in settings.explain():
        assert row.description
        assert row.environment == "MESH_" + row.name.replace(".", "__").upper()


def test_a_file_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "other.toml").write_text("[worker]\nkill_seconds = 1.5\n")
    assert settings.load(config=tmp_path / "other.toml").worker.kill_seconds == 1.5
    monkeypatch.setenv("MESH_CONFIG", str(tmp_path / "other.toml"))
    assert settings.load().worker.kill_seconds == 1.5


def test_settings_can_be_given_to_another_process(monkeypatch):
    loaded = settings.load(
        {"bus": {"proxies": ["ipc:///tmp/p"]}, "gateway": {"own_port": 7, "reuse_port": True}}
    )
    for name, value in settings.environment(loaded).items():
        monkeypatch.setenv(name, value)
    assert settings.load() == loaded


def test_a_setting_that_is_switched_off_is_off_in_another_process(monkeypatch):
    loaded = settings.load({"gc": {"full_seconds": None}})
    for name, value in settings.environment(loaded).items():
        monkeypatch.setenv(name, value)
    assert settings.load().gc.full_seconds is None


def test_every_default_is_a_value_that_may_be_set():
    loaded = settings.load()
    for field in fields().values():
        default = getattr(getattr(loaded, field.section), field.name)
        assert field.read(default) == default, field.variable


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("GATEWAY__REUSE_PORT", "yes", True),
        ("GATEWAY__REUSE_PORT", "Off", False),
        ("GATEWAY__REUSE_PORT", "1", True),
        ("GATEWAY__PORT", " 80 ", 80),
        ("GATEWAY__IDLE_TIMEOUT_SECONDS", "1e1", 10.0),
        ("GATEWAY__TLS_KEY", "/etc/key.pem", Path("/etc/key.pem")),
        ("GATEWAY__HOST", "[::1]", ["::1"]),
        ("GATEWAY__OWN_PORT", "null", None),
        ("LOG__NODE", "null", "null"),
        ("LOG__KEEP_PARAMETERS", "a, b", ["a", "b"]),
        ("LOG__FORMAT", "json", "json"),
        ("WORKER__JOIN_TIMEOUT_SECONDS", "3", 3.0),
        ("SECURITY__SECRET_KEY", "x" * 20, Secret("x" * 20)),
        ("API__KEYS", f"{'a' * 16},{'b' * 16}", [Secret("a" * 16), Secret("b" * 16)]),
    ],
)
def test_a_text_of_the_environment_becomes_the_settings_type(monkeypatch, name, text, value):
    monkeypatch.setenv(f"MESH_{name}", text)
    section, _, setting = name.lower().partition("__")
    read = getattr(getattr(settings.load(), section), setting)
    assert read == value
    assert type(read) is type(value)


def test_a_whole_section_can_be_a_json_object_and_its_own_variables_count_more(monkeypatch):
    monkeypatch.setenv("MESH_GATEWAY", '{"port": 1, "url_host": "example.org"}')
    monkeypatch.setenv("mesh_gateway__port", "2")
    loaded = settings.load().gateway
    assert (loaded.port, loaded.url_host) == (2, "example.org")
    monkeypatch.delenv("MESH_GATEWAY")
    monkeypatch.delenv("mesh_gateway__port")
    monkeypatch.setenv("mesh_gateway", '{"port": 1}')
    monkeypatch.setenv("MESH_GATEWAY__PORT", "2")
    assert settings.load().gateway.port == 2


def test_an_unknown_section_and_a_wrong_value_have_a_line_each(tmp_path, monkeypatch):
    (tmp_path / "mesh.toml").write_text("[gatway]\nport = 1\nhost = 2\n")
    monkeypatch.setenv("MESH_GATEWAY__PORT", "x")
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "MESH_GATWAY__…",
        "MESH_GATEWAY__PORT",
    ]


def test_a_secret_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv("MESH_SECURITY__SECRET_KEY", "short-secret")
    with pytest.raises(SettingsError, match="hidden") as caught:
        settings.load()
    assert "short-secret" not in str(caught.value)
    monkeypatch.setenv("MESH_SECURITY__SECRET_KEY", "a-secret-of-enough-bytes")
    loaded = settings.load()
    assert "a-secret" not in f"{loaded!r} {loaded} {settings.explain()}"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MESH_GATEWAY__REUSE_PORT", "perhaps", ["'perhaps'", "want true or false"]),
        ("MESH_GATEWAY__URL_HOST", "", ["''", "not empty"]),
        ("MESH_GATEWAY__HOST", "", ["at least one host"]),
        ("MESH_GATEWAY__TRUSTED_PROXIES", "10.0.0.0/99", ["10.0.0.0/99", "network"]),
        ("MESH_GATEWAY__MAX_FRAME_BYTES", "0", ["'0'", "integer of at least 1"]),
        ("MESH_ADMIN__PORT", "-1", ["'-1'", "integer from 0 to 65535"]),
        ("MESH_API__PATH", "api", ["'api'", "'/api'"]),
        ("MESH_API__KEYS", "short", ["(hidden)", "key 1", "16 to 256"]),
        ("MESH_PRESENCE__DOWN_SECONDS", "2", ["'2'", "at least twice heartbeat_seconds, 3"]),
        ("MESH_PRESENCE__PERMDOWN_SECONDS", "10", ["'10'", "more than down_seconds, 10"]),
        ("MESH_LOG__FILTER_PARAMETERS", "[1, 2]", ["want a list of strings"]),
        ("MESH_BUS__HEARTBEAT_SECONDS", "nan", ["'nan'", "0.001"]),
        ("MESH_LIMITS__PUSH_BURST", "nan", ["'nan'"]),
        ("MESH_GATEWAY__WORKER_WAIT_SECONDS", "nan", ["'nan'"]),
        ("MESH_GATEWAY__PORT", "\udcff", ["want an integer"]),
        ("MESH_GATEWAY__PORT", "many", ["MESH_GATEWAY__PORT", "'many'", "integer"]),
        ("MESH_GATEWAY__PORT", "70000", ["'70000'", "65535"]),
        ("MESH_GATEWAY__PROT", "1", ["MESH_GATEWAY__PROT", "did you mean MESH_GATEWAY__PORT?"]),
        ("MESH_GATEWAY__IDLE_TIMEOUT_SECONDS", "-1", ["'-1'", "greater than 0"]),
        ("MESH_BUS__PROXIES", "tcp:/10.0.0.1:5550", ["'tcp:/10.0.0.1:5550'", "tcp://HOST:PORT"]),
        ("MESH_BUS__PROXIES", "ipc://a,ipc://a", ["each once"]),
        ("MESH_LINK__BIND", "tcp://0.0.0.0:*", ["CURVE"]),
        ("MESH_LOG__LEVEL", "loud", ["'loud'", "'debug'"]),
        ("MESH_BUS__PROXIES", '["ipc://a', ["MESH_BUS__PROXIES", "not a JSON list"]),
        ("MESH_BUS__PROXIES", "tcp://127.0.0.1:*", ["a fixed port or path"]),
        ("MESH_GATEWAY", "xyz", ["MESH_GATEWAY: 'xyz'", "MESH_GATEWAY__"]),
        ("MESH_BUS__HEARTBEAT_SECONDS", "inf", ["'inf'", "2000000"]),
        ("MESH_BUS__HEARTBEAT_SECONDS", "0.0001", ["0.001"]),
        ("MESH_BUS__ANNOUNCE_SECONDS", "nan", ["'nan'"]),
        ("MESH_BUS__HIGH_WATER_MARK", "99999999999", ["2147483647"]),
        ("MESH_LINK__MAX_MESSAGE_BYTES", "9" * 20, ["9223372036854775807"]),
    ],
)
def test_a_wrong_variable_is_one_line_with_name_value_and_way_out(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("text", ["ipc://a", " ipc://a ,", '["ipc://a"]'])
def test_a_list_from_the_environment_is_separated_by_commas_or_json(monkeypatch, text):
    monkeypatch.setenv("MESH_BUS__PROXIES", text)
    assert settings.load().bus.proxies == ["ipc://a"]


def test_every_wrong_variable_has_its_line(monkeypatch):
    for name, value in {
        "GATEWAY__PROT": "1",
        "GATEWAY__HOTS": "h",
        "GATEWAY__PORT": "x",
        "BUS__PROXIES": "y",
    }.items():
        monkeypatch.setenv(f"MESH_{name}", value)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    lines = str(caught.value).splitlines()
    assert sorted(line.split(":")[0] for line in lines) == [
        "MESH_BUS__PROXIES", "MESH_GATEWAY__HOTS", "MESH_GATEWAY__PORT", "MESH_GATEWAY__PROT"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "word"),
    [("[gateway]\nprot = 1\n", "did you mean MESH_GATEWAY__PORT"), ("[gatway]\n", "MESH_GATWAY"),
     ("gateway = 1\n", "want a table"), ("not toml", "not TOML"), ('[gateway]\nport = "x"\n', "(file)")],
)  # fmt: skip
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, word):
    (tmp_path / "mesh.toml").write_text(text)
    with pytest.raises(SettingsError, match=word.replace("(", r"\(").replace(")", r"\)")):
        settings.load()


def test_a_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(SettingsError, match="cannot read"):
        settings.load(config=tmp_path / "nothing.toml")
