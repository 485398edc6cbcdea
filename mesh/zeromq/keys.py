"""The files of CURVE keys: how they are generated, listed, rotated and read. The command is `mesh keys`.

    keys/nodes/NAME.key            public key of a node, which may use the bus and the links
    keys/programs/NAME.key         public key of a program that is not a node, which may use the bus
    keys/secret/NAME.key_secret    key pair, for NAME only; mode 0600, or 0440 for a group of NAME's process

The format is ZeroMQ's certificate file, ZPL (ZeroMQ RFC 4), as written by czmq and pyzmq. A key has 32
bytes, written as 40 characters of Z85 (ZeroMQ RFC 32).
"""

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import zmq.auth

from mesh.errors import SettingsError

NODES = "nodes"
PROGRAMS = "programs"
SECRETS = "secret"
PROXY = "proxy"
"""The name of the key that all proxies share: nodes must know it before they connect."""
PREVIOUS = ".previous"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_Z85 = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")


class Key(NamedTuple):
    """A public key.

    Attributes:
        name: the name of its owner.
        role: NODES or PROGRAMS.
        public: the key, in Z85.
        secret: the file of the key pair, if it is in this directory.
        made: when it was generated, in seconds since the epoch.
    """

    name: str
    role: str
    public: bytes
    secret: Path | None
    made: float


class KeyDirectory:
    """A directory of keys.

    Args:
        path: the path of the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def generate(self, name: str, role: str = NODES) -> Key:
        """Generate a key pair.

        Raises:
            SettingsError: if the key exists, or the name or directory cannot be used.
        """
        _check_name(name)
        if self._find(name) is not None:
            raise SettingsError(f"{self.path} has a key {name!r}; `mesh keys rotate {name}` replaces it")
        return self._make(name, role)

    def rotate(self, name: str) -> Key:
        """Generate a new pair. The old public key remains accepted, as NAME.previous, until it is revoked.

        Raises:
            SettingsError: if there is no such key.
        """
        public = self._public_file(name)
        if public is None:
            raise self._unknown(name)
        os.replace(public, public.with_name(f"{name}{PREVIOUS}.key"))
        return self._make(name, public.parent.name)

    def revoke(self, name: str) -> None:
        """Stop accepting a key. Existing connections that use it are not closed.

        Raises:
            SettingsError: if there is no such key.
        """
        public = self._public_file(name)
        if public is None:
            raise self._unknown(name)
        public.unlink()
        self._secret_file(name).unlink(missing_ok=True)

    def list(self) -> list[Key]:
        """Return all public keys, sorted by role and name. A file that is not a key is an error.

        Raises:
            SettingsError: naming the file that cannot be read.
        """
        return [
            Key(file.stem, role, read_public(file), self._secret_of(file.stem), file.stat().st_mtime)
            for role in (NODES, PROGRAMS)
            for file in sorted((self.path / role).glob("*.key"))
        ]

    def roles(self) -> dict[bytes, str]:
        """Return the role of each public key. Raises as `list`."""
        return {key.public: key.role for key in reversed(self.list())}

    def public(self, role: str, name: str) -> bytes:
        """Return one public key.

        Raises:
            SettingsError: if there is no such key.
        """
        return read_public(self.path / role / f"{name}.key")

    def _make(self, name: str, role: str) -> Key:
        secrets = self.path / SECRETS
        try:
            secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / role).mkdir(parents=True, exist_ok=True)
            before = os.umask(0o077)
            try:
                made, secret = map(Path, zmq.auth.create_certificates(secrets, f".{name}.new"))
            finally:
                os.umask(before)
            made.chmod(0o644)
            os.replace(secret, self._secret_file(name))
            public = self.path / role / f"{name}.key"
            os.replace(made, public)
        except OSError as error:
            raise SettingsError(f"cannot write keys to {self.path}: {error.strerror or error}") from None
        return Key(name, role, read_public(public), self._secret_file(name), public.stat().st_mtime)

    def _find(self, name: str) -> Path | None:
        secret = self._secret_of(name)
        return self._public_file(name) or secret

    def _public_file(self, name: str) -> Path | None:
        _check_name(name)
        files = (self.path / role / f"{name}.key" for role in (NODES, PROGRAMS))
        return next((file for file in files if file.exists()), None)

    def _secret_file(self, name: str) -> Path:
        return self.path / SECRETS / f"{name}.key_secret"

    def _secret_of(self, name: str) -> Path | None:
        file = self._secret_file(name)
        return file if file.exists() else None

    def _unknown(self, name: str) -> SettingsError:
        return SettingsError(f"no key {name!r} in {self.path}; `mesh keys list` shows all keys")


def read_public(file: Path) -> bytes:
    """Return the public key in a file.

    Raises:
        SettingsError: if it cannot be read or contains no public key.
    """
    return _load(file)[0]


def read_pair(file: Path) -> tuple[bytes, bytes]:
    """Return the public and the secret key in a file that no other user may read.

    Its group may, if this process belongs to that group and cannot write the file: Kubernetes mounts a
    secret as root:GROUP 0440.

    Raises:
        SettingsError: if it cannot be read, contains no secret key, or other users can read it.
    """
    public, secret = _load(file)
    if secret is None:
        raise SettingsError(f"{file} contains no secret key; want keys/secret/NAME.key_secret")
    found = file.stat()  # follows symbolic links
    others = stat.S_IRWXO | stat.S_IRWXG
    mounted = found.st_uid != os.geteuid() or not found.st_mode & stat.S_IWUSR
    if mounted and found.st_gid in {os.getegid(), *os.getgroups()}:
        others &= ~stat.S_IRGRP
    if found.st_mode & others:
        raise SettingsError(
            f"{file} can be read by other users (mode {found.st_mode & 0o777:o}, group {found.st_gid}); run"
            f" `chmod 600 {file}`, or `chmod 440 {file}` for a group of this process (Kubernetes: fsGroup)"
        )
    return public, secret


def _load(file: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(file)
    except IndexError:
        raise SettingsError(f"{file} is truncated; `mesh keys generate NAME` generates a key") from None
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot read the key {file}: {error}; `mesh keys generate NAME` generates a key"
        ) from None
    for key in (public, secret or public):
        if not _Z85.match(key):
            raise SettingsError(f"{file} is not a key; want 40 characters of Z85 (ZeroMQ RFC 32)")
    return public, secret


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise SettingsError(f"{name!r} cannot name a key; want 1 to 64 letters, digits, `-`, `_`, `.`")
