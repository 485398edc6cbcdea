"""Reads the settings: flags, environment, file, code, defaults, in this order of precedence."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mesh.addresses import is_local, needs_keys
from mesh.errors import SettingsError
from mesh.settings.fields import PREFIX, Field, fields, sections, variable
from mesh.settings.secret import Secret
from mesh.settings.settings import Settings

DEFAULT_FILE = Path("mesh.toml")

Layers = list[tuple[str, Mapping[str, Any]]]
"""By origin: values by section and name; the first one counts."""


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
    return _build(_given(_layers(code, config, flags)))


def build(code: Mapping[str, Any]) -> Settings:
    """Settings from these values alone, by section and name. Raises as `load`."""
    return _build(_given([("code", code)]))


def explain(
    code: Mapping[str, Any] | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Explained]:
    """Every setting with its value, where it came from, and what it means. Raises as `load`."""
    given = _given(_layers(code, config, flags))
    settings = _build(given)
    rows = []
    for key, field in fields().items():
        value = _value(settings, field)
        if isinstance(value, Path):
            value = str(value)
        if field.secret:
            value = "(hidden)" if value else value
        origin = given[key][1] if key in given else "default"
        rows.append(Explained(".".join(key), field.variable, value, origin, field.description))
    return rows


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables that give another process these settings."""
    variables = {}
    for field in fields().values():
        value = _value(settings, field)
        if value is not None:
            variables[field.variable] = _text(value)
        elif _value(_DEFAULTS, field) is not None:
            variables[field.variable] = "null"
    return variables


def _value(settings: Settings, field: Field) -> Any:
    return getattr(getattr(settings, field.section), field.name)


def _text(value: Any) -> str:
    if isinstance(value, Secret):
        return value.get_secret_value()
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


_DEFAULTS = Settings()

Given = dict[tuple[str, str], tuple[Any, str]]
"""By section and name: a value as it was given, and its origin."""


def _layers(
    code: Mapping[str, Any] | None,
    config: Path | None,
    flags: Mapping[str, Mapping[str, Any]] | None,
) -> Layers:
    from_flags = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in (flags or {}).items()
    }
    return [
        ("flag", from_flags),
        ("environment", _from_environment()),
        ("file", _from_file(config)),
        ("code", code or {}),
    ]


def _given(layers: Layers) -> Given:
    given: Given = {}
    for origin, values in reversed(layers):
        for section, names in values.items():
            if not isinstance(names, Mapping):
                raise SettingsError(f"{section}: {names!r} ({origin}); want a table of settings")
            if section not in sections():
                names = {"…": names}  # one line for all of it
            given |= {(section, name): (value, origin) for name, value in names.items()}
    return given


def _build(given: Given) -> Settings:
    read: dict[str, dict[str, Any]] = {section: {} for section in sections()}
    wrong = []
    for (section, name), (value, origin) in given.items():
        field = fields().get((section, name))
        if field is None:
            wrong.append(_unknown(variable(section, name)))
            continue
        try:
            read[section][name] = field.read(value)
        except ValueError as error:
            wrong.append(_sentence(field, value, origin, str(error)))
    if wrong:
        raise SettingsError("\n".join(wrong))
    made: dict[str, Any] = {section: model(**read[section]) for section, model in sections().items()}
    settings = Settings(**made)
    wrong = [*_conflicts(settings, given), *_without_keys(settings)]
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def _conflicts(settings: Settings, given: Given) -> list[str]:
    """One line per value that does not fit another one."""
    lines = []
    for section in sections():
        for name, reason in getattr(settings, section).conflicts().items():
            field = fields()[section, name]
            value, origin = given.get((section, name), (_value(settings, field), "default"))
            lines.append(_sentence(field, value, origin, reason))
    return lines


def _without_keys(settings: Settings) -> list[str]:
    """One line per address to listen on that needs keys where there are none."""
    if settings.security.node_key is not None:
        return []
    binds = {"link": settings.link.bind, "zeromq": settings.zeromq.bind}
    return [
        str(needs_keys(address, variable(section, "bind")))
        for section, address in binds.items()
        if address is not None and not is_local(address)
    ]


def _from_environment() -> dict[str, dict[str, Any]]:
    """MESH_SECTION__NAME; MESH_SECTION is a JSON object. Names may be in lower case."""
    found: dict[str, dict[str, Any]] = {}
    wrong = []
    # A section's own variable sorts before those of its settings, which count more.
    for name, text in sorted(os.environ.items(), key=lambda variable: variable[0].upper()):
        section, _, setting = name.upper().removeprefix(PREFIX).lower().partition("__")
        if not name.upper().startswith(PREFIX) or section not in sections():
            continue
        if setting:
            found.setdefault(section, {})[setting] = text
        elif isinstance(values := _json(text), dict):
            found.setdefault(section, {}).update(values)
        else:
            wrong.append(f"{name}: {text!r}: want a JSON object, or use {name}__…")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


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


def _unknown(variable: str) -> str:
    close = difflib.get_close_matches(variable, [field.variable for field in fields().values()], 1)
    hint = f"; did you mean {close[0]}?" if close else "; `mesh settings` lists all"
    return f"{variable}: unknown setting{hint}"


def _sentence(field: Field, value: Any, origin: str, reason: str) -> str:
    """What is wrong with a value, under the name a user would set."""
    where = "" if origin == "environment" else f" ({origin})"
    shown = "(hidden)" if field.secret else repr(value)
    return f"{field.variable}: {shown}: {reason}{where}"
