"""The files of CURVE keys."""

import os
import time

import pytest
import zmq

from mesh.errors import SettingsError
from mesh.settings import load
from mesh.zeromq import curve
from mesh.zeromq.keys import NODES, PROGRAMS, KeyDirectory, read_pair, read_public


@pytest.fixture
def directory(tmp_path):
    return KeyDirectory(tmp_path / "keys")


def test_a_generated_pair_belongs_together_and_only_its_owner_reads_the_secret(directory):
    key = directory.generate("worker-1")
    public, secret = read_pair(key.secret)
    assert public == key.public == zmq.curve_public(secret)
    assert key.secret.stat().st_mode & 0o777 == 0o600
    assert key.secret.parent.stat().st_mode & 0o777 == 0o700
    assert b"secret-key" not in (directory.path / NODES / "worker-1.key").read_bytes()


def test_keys_are_listed_with_their_roles(directory):
    directory.generate("worker-1")
    directory.generate("billing", PROGRAMS)
    assert [(key.name, key.role) for key in directory.list()] == [
        ("worker-1", NODES),
        ("billing", PROGRAMS),
    ]
    assert set(directory.roles().values()) == {NODES, PROGRAMS}


def test_a_name_is_taken_once_in_either_role(directory):
    directory.generate("worker-1")
    for role in (NODES, PROGRAMS):
        with pytest.raises(SettingsError, match="rotate worker-1"):
            directory.generate("worker-1", role)


def test_a_rotated_key_is_new_and_the_old_one_is_accepted_until_it_is_revoked(directory):
    old = directory.generate("billing", PROGRAMS)
    new = directory.rotate("billing")
    assert new.public != old.public
    assert new.role == PROGRAMS
    assert read_pair(new.secret)[0] == new.public
    assert directory.roles() == {old.public: PROGRAMS, new.public: PROGRAMS}
    directory.revoke("billing.previous")
    assert directory.roles() == {new.public: PROGRAMS}
    directory.revoke("billing")
    assert directory.roles() == {}
    assert not new.secret.exists()


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "x" * 65, "a\n"])
def test_a_name_is_a_file_name_and_nothing_else(directory, name):
    with pytest.raises(SettingsError, match="cannot name a key"):
        directory.generate(name)


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_an_unknown_name_is_said(directory, change):
    with pytest.raises(SettingsError, match="no key 'nobody'"):
        getattr(directory, change)("nobody")


def test_a_secret_that_others_can_read_is_refused(directory):
    key = directory.generate("worker-1")
    key.secret.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_pair(key.secret)


def as_kubernetes_mounts_it(secret, mode):
    """A link to a link, as in a volume whose content can be replaced at once."""
    data = secret.parent / "..2026_01_01"
    data.mkdir()
    secret.rename(data / secret.name)
    (secret.parent / "..data").symlink_to(data.name)
    secret.symlink_to(f"..data/{secret.name}")
    secret.chmod(mode)


def test_a_secret_is_accepted_where_only_the_processs_own_group_can_read_it(directory):
    key = directory.generate("worker-1")
    as_kubernetes_mounts_it(key.secret, 0o440)
    assert read_pair(key.secret)[0] == key.public


def test_a_secret_of_a_foreign_group_is_refused_and_of_a_supplementary_one_accepted(directory, monkeypatch):
    key = directory.generate("worker-1")
    as_kubernetes_mounts_it(key.secret, 0o440)
    group = key.secret.stat().st_gid
    monkeypatch.setattr(os, "getegid", lambda: group + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [group + 1])
    with pytest.raises(SettingsError, match=rf"group {group}\).*chmod 600.*fsGroup"):
        read_pair(key.secret)
    monkeypatch.setattr(os, "getgroups", lambda: [group + 1, group])
    assert read_pair(key.secret)[0] == key.public


@pytest.mark.parametrize("mode", [0o444, 0o441, 0o460, 0o450, 0o604, 0o660])
def test_more_than_reading_by_a_group_is_refused(directory, mode):
    key = directory.generate("worker-1")
    as_kubernetes_mounts_it(key.secret, mode)
    with pytest.raises(SettingsError, match=f"mode {mode:o}"):
        read_pair(key.secret)


def test_files_that_hold_no_key_are_named(directory, tmp_path):
    key = directory.generate("worker-1")
    with pytest.raises(SettingsError, match="no secret key"):
        read_pair(directory.path / NODES / "worker-1.key")
    with pytest.raises(SettingsError, match="mesh keys generate"):
        read_pair(tmp_path / "missing")
    broken = tmp_path / "broken.key"
    broken.write_text('public-key = "short"')
    with pytest.raises(SettingsError, match="40 characters of Z85"):
        read_public(broken)
    assert read_public(directory.path / NODES / "worker-1.key") == key.public


def test_keys_of_the_settings_are_read_and_a_new_one_is_known_within_a_second(directory, monkeypatch):
    own = directory.generate("worker-1")
    settings = load(flags={"security": {"node_key": str(own.secret), "keys": str(directory.path)}})
    keys = curve.Keys(settings.security)
    assert (keys.public, keys.role(own.public)) == (own.public, NODES)
    other = directory.generate("billing", PROGRAMS)
    now = time.monotonic()
    monkeypatch.setattr(curve.time, "monotonic", lambda: now + curve.REREAD_SECONDS + 0.1)
    assert keys.role(other.public) == PROGRAMS
    assert keys.role(b"x" * 40) is None
    with pytest.raises(SettingsError, match=r"proxy\.key"):
        keys.proxy()


def test_a_directory_that_cannot_be_written_is_said(directory):
    directory.path.mkdir()
    (directory.path / "secret").write_text("not a directory")
    with pytest.raises(SettingsError, match="cannot write keys"):
        directory.generate("worker-1")
    assert os.listdir(directory.path) == ["secret"]


@pytest.mark.parametrize(
    ("room", "variable"), [("link", "MESH_LINK__BIND"), ("zeromq", "MESH_ZEROMQ__BIND")]
)
def test_listening_beyond_this_machine_needs_keys(room, variable, directory):
    flags = {room: {"bind": "tcp://0.0.0.0:5560"}}
    with pytest.raises(SettingsError, match=f"{variable}: .*mesh keys"):
        load(flags=flags)
    key = directory.generate("worker-1")
    load(flags={**flags, "security": {"node_key": str(key.secret)}})
