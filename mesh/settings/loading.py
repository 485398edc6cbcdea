"""Reads the settings: flags, environment, file, code, defaults, in this order of precedence."""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as SourceError

from mesh.addresses import is_local, needs_keys
from mesh.errors import SettingsError
from mesh.settings.room import Room
from mesh.settings.settings import PREFIX, Settings

DEFAULT_FILE = Path("mesh.toml")

SECRET = frozenset({("api", "keys"), ("security", "secret_key")})
"""Settings whose values are never shown."""


class Explained(NamedTuple):
    """One setting, for `mesh settings`."""

    name: str
    environment: str
    value: Any
    origin: str
    description: str


def load(
    code: Mapping[str, Any] | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read the settings.

    Args:
        code: what the application gave its Endpoint.
        config: a TOML file; by default mesh.toml, or the one MESH_CONFIG names, if there is one.
        flags: from the command line, nested; None values are left out.

    Raises:
        SettingsError: with one line per wrong value.
    """
    return _build(_layers(code, config, flags))


def explain(
    code: Mapping[str, Any] | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Explained]:
    """Every setting with its value, where it came from, and what it means. Raises as `load`."""
    layers = _layers(code, config, flags)
    settings = _build(layers)
    rows = []
    for room, name, description in _fields():
        origin = next((origin for origin, values in layers if name in (values.get(room) or {})), "default")
        value = getattr(getattr(settings, room), name)
        if isinstance(value, Path):
            value = str(value)
        if (room, name) in SECRET:
            value = "(hidden)" if value else value
        rows.append(Explained(f"{room}.{name}", _environment(room, name), value, origin, description))
    return rows


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables that give another process these settings."""
    variables = {}
    for room, name, _ in _fields():
        value = getattr(getattr(settings, room), name)
        if value is not None:
            variables[_environment(room, name)] = _text(value)
    return variables


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


Layers = list[tuple[str, dict[str, Any]]]


def _layers(
    code: Mapping[str, Any] | None,
    config: Path | None,
    flags: Mapping[str, Mapping[str, Any]] | None,
) -> Layers:
    given = {
        room: {name: value for name, value in values.items() if value is not None}
        for room, values in (flags or {}).items()
    }
    return [
        ("flag", given),
        ("environment", _from_environment()),
        ("file", _from_file(config)),
        ("code", dict(code or {})),
    ]


def _build(layers: Layers) -> Settings:
    merged: dict[str, Any] = {}
    for origin, values in reversed(layers):
        for room, names in values.items():
            if not isinstance(names, Mapping):
                raise SettingsError(f"{room}: {names!r} ({origin}); want a table of settings")
            merged.setdefault(room, {}).update(names)
    wrong = _unknown_variables()
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        wrong += [_sentence(each, layers) for each in error.errors()]
    else:
        wrong += _without_keys(settings)
    if wrong:
        raise SettingsError("\n".join(dict.fromkeys(wrong)))
    return settings


def _without_keys(settings: Settings) -> list[str]:
    """One line per address to listen on that needs keys where there are none."""
    if settings.security.node_key is not None:
        return []
    binds = {"link": settings.link.bind, "zeromq": settings.zeromq.bind}
    return [
        str(needs_keys(address, _environment(room, "bind")))
        for room, address in binds.items()
        if address is not None and not is_local(address)
    ]


def _unknown_variables() -> list[str]:
    """One line per variable of one of our rooms that is no setting."""
    rooms = {room for room, _, _ in _fields()}
    known = {_environment(room, name) for room, name, _ in _fields()}
    lines = []
    for variable in os.environ:
        room = variable.removeprefix(PREFIX).partition("__")[0].lower()
        if variable.startswith(PREFIX) and "__" in variable and room in rooms and variable not in known:
            lines.append(_unknown(variable, known))
    return lines


def _from_environment() -> dict[str, Any]:
    rooms = {room for room, _, _ in _fields()}
    try:
        return {room: values for room, values in EnvSettingsSource(Settings)().items() if room in rooms}
    except SourceError as error:
        raise SettingsError(_unparsable_rooms() or str(error)) from None


def _unparsable_rooms() -> str:
    """One line per variable that is named like a whole room, which pydantic-settings reads as JSON."""
    lines = []
    for room in Settings.model_fields:
        variable = PREFIX + room.upper()
        try:
            json.loads(os.environ.get(variable, "{}"))
        except ValueError:
            lines.append(f"{variable}: {os.environ[variable]!r}: want a JSON object, or use {variable}__…")
    return "\n".join(lines)


def _from_file(config: Path | None) -> dict[str, Any]:
    named = config or (Path(os.environ["MESH_CONFIG"]) if os.environ.get("MESH_CONFIG") else None)
    path = named or DEFAULT_FILE
    if named is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _fields() -> Iterator[tuple[str, str, str]]:
    for room, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, Room)
        for name, inner in model.model_fields.items():
            yield room, name, inner.description or ""


def _environment(room: str, name: str) -> str:
    return f"{PREFIX}{room.upper()}__{name.upper()}"


def _unknown(variable: str, known: set[str]) -> str:
    close = difflib.get_close_matches(variable, known, 1)
    hint = f"; did you mean {close[0]}?" if close else "; `mesh settings` lists all"
    return f"{variable}: unknown setting{hint}"


def _sentence(problem: Any, layers: Layers) -> str:
    """One line for one of pydantic's errors, under the name a user would set."""
    location = [str(part) for part in problem["loc"]]
    room, name = location[0], location[1] if len(location) > 1 else ""
    variable = _environment(room, name) if name else f"{PREFIX}{room.upper()}__…"
    if problem["type"] == "extra_forbidden":
        return _unknown(variable, {_environment(room, name) for room, name, _ in _fields()})
    origin = next((origin for origin, values in layers if name in (values.get(room) or {})), "default")
    reason = problem["msg"].removeprefix("Value error, ").replace("Input should be", "want")
    where = "" if origin == "environment" else f" ({origin})"
    value = "(hidden)" if (room, name) in SECRET else repr(problem["input"])
    return f"{variable}: {value}: {reason[:1].lower() + reason[1:]}{where}"
