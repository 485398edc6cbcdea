"""Reads the settings. Precedence, highest first: flags, environment, file, code, defaults."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mesh.addresses import is_local, missing_keys_error
from mesh.errors import SettingsError
from mesh.settings.fields import PREFIX, Field, fields, sections, variable
from mesh.settings.secret import Secret
from mesh.settings.settings import Settings

DEFAULT_FILE = Path("mesh.toml")

Layers = list[tuple[str, Mapping[str, Any]]]
"""(origin, values by section and name), highest precedence first."""


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
        code: the settings that the application passed to its Endpoint.
        config: a TOML file; by default the one that MESH_CONFIG names, else mesh.toml if it exists.
        flags: values from the command line, by section and name; None means not given.

    Raises:
        SettingsError: with one line for each invalid value.
    """
    return _build(_merge(_layers(code, config, flags)))


def build(code: Mapping[str, Any]) -> Settings:
    """Build settings from these values alone, given by section and name. Raises as `load`."""
    return _build(_merge([("code", code)]))


def explain(
    code: Mapping[str, Any] | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Explained]:
    """Return every setting with its value, origin and description. Raises as `load`."""
    raw_values = _merge(_layers(code, config, flags))
    settings = _build(raw_values)
    rows = []
    for key, field in fields().items():
        value = _value(settings, field)
        if isinstance(value, Path):
            value = str(value)
        if field.secret:
            value = "(hidden)" if value else value
        origin = raw_values[key][1] if key in raw_values else "default"
        rows.append(Explained(".".join(key), field.variable, value, origin, field.description))
    return rows


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that give another process these settings."""
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

RawValues = dict[tuple[str, str], tuple[Any, str]]
"""By section and name: (the raw value, its origin)."""


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


def _merge(layers: Layers) -> RawValues:
    raw_values: RawValues = {}
    for origin, values in reversed(layers):
        for section, names in values.items():
            if not isinstance(names, Mapping):
                raise SettingsError(f"{section}: {names!r} ({origin}); want a table of settings")
            if section not in sections():
                names = {"…": names}  # one line for the whole section
            raw_values |= {(section, name): (value, origin) for name, value in names.items()}
    return raw_values


def _build(raw_values: RawValues) -> Settings:
    read: dict[str, dict[str, Any]] = {section: {} for section in sections()}
    problems = []
    for (section, name), (value, origin) in raw_values.items():
        field = fields().get((section, name))
        if field is None:
            problems.append(_unknown(variable(section, name)))
            continue
        try:
            read[section][name] = field.read(value)
        except ValueError as error:
            problems.append(_problem_line(field, value, origin, str(error)))
    if problems:
        raise SettingsError("\n".join(problems))
    sections_read: dict[str, Any] = {
        section: model(**read[section]) for section, model in sections().items()
    }
    settings = Settings(**sections_read)
    problems = [*_conflicts(settings, raw_values), *_missing_keys(settings)]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _conflicts(settings: Settings, raw_values: RawValues) -> list[str]:
    """Return one line for each value that conflicts with another."""
    lines = []
    for section in sections():
        for name, reason in getattr(settings, section).conflicts().items():
            field = fields()[section, name]
            value, origin = raw_values.get((section, name), (_value(settings, field), "default"))
            lines.append(_problem_line(field, value, origin, reason))
    return lines


def _missing_keys(settings: Settings) -> list[str]:
    """Return one line for each bind address that needs CURVE keys while none are configured."""
    if settings.security.node_key is not None:
        return []
    binds = {"link": settings.link.bind, "zeromq": settings.zeromq.bind}
    return [
        str(missing_keys_error(address, variable(section, "bind")))
        for section, address in binds.items()
        if address is not None and not is_local(address)
    ]


def _from_environment() -> dict[str, dict[str, Any]]:
    """Read MESH_SECTION__NAME, and MESH_SECTION as a JSON object. Names may be in lower case."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    # A section's variable sorts before those of its settings, so the settings override it.
    for name, text in sorted(os.environ.items(), key=lambda variable: variable[0].upper()):
        section, _, setting = name.upper().removeprefix(PREFIX).lower().partition("__")
        if not name.upper().startswith(PREFIX) or section not in sections():
            continue
        if setting:
            found.setdefault(section, {})[setting] = text
        elif isinstance(values := _json(text), dict):
            found.setdefault(section, {}).update(values)
        else:
            problems.append(f"{name}: {text!r}: want a JSON object, or use {name}__…")
    if problems:
        raise SettingsError("\n".join(problems))
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
    hint = f"; did you mean {close[0]}?" if close else "; `mesh settings` lists all settings"
    return f"{variable}: unknown setting{hint}"


def _problem_line(field: Field, value: Any, origin: str, reason: str) -> str:
    """Return what is wrong with a value, under the name of its environment variable."""
    where = "" if origin == "environment" else f" ({origin})"
    shown = "(hidden)" if field.secret else repr(value)
    return f"{field.variable}: {shown}: {reason}{where}"
