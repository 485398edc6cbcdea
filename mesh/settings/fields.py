"""Describes each setting: its type and limits, and how its value is read."""

import types
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from mesh.settings.secret import Secret
from mesh.settings.section import Section
from mesh.settings.settings import Settings
from mesh.settings.values import Check, Split

PREFIX = "MESH_"

_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_NOUNS = {int: "an integer", float: "a number", bool: "true or false", list: "a list of strings"}


class Field(NamedTuple):
    """One setting.

    Attributes:
        section: the section's name, such as "gateway".
        name: the setting's name within its section.
        annotation: the annotation in the section's class.
        base: the type, without None and without metadata.
        metas: the limits and the description.
        checks: the setting's own checks.
        split: the parser of a list given as text, if it is a list.
    """

    section: str
    name: str
    annotation: Any
    base: Any
    metas: tuple[Meta, ...]
    checks: tuple[Check, ...]
    split: Split | None

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return variable(self.section, self.name)

    @property
    def description(self) -> str:
        """The description, or an empty string if there is none."""
        return next((each.description for each in reversed(self.metas) if each.description), "")

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.base is Secret or Secret in get_args(self.base)

    def read(self, value: Any) -> Any:
        """Convert and check a raw value. Raises ValueError, which says what is expected."""
        if isinstance(value, str):
            value = self._from_text(value)
        try:
            value = msgspec.convert(value, self.annotation, strict=False, dec_hook=_convert)
        except (msgspec.ValidationError, UnicodeError):  # UnicodeError: a variable that is not UTF-8
            raise ValueError(f"want {self.expected()}") from None
        if value is not None:
            for check in self.checks:
                value = check.function(value)
        return value

    def _from_text(self, text: str) -> Any:
        if self.split is not None:
            return self.split.function(text)
        if self.base is bool:
            word = text.strip().lower()
            return True if word in _TRUE else False if word in _FALSE else text
        return text.strip() if self.base in (int, float) else text

    def expected(self) -> str:
        """Describe the accepted values, with their limits."""
        if get_origin(self.base) is Literal:
            *most, last = map(repr, get_args(self.base))
            return f"{', '.join(most)} or {last}"
        noun = _NOUNS.get(get_origin(self.base) or self.base, "text")
        return " ".join([noun, *_limits(self.metas)])


def variable(section: str, name: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{section.upper()}__{name.upper()}"


@cache
def sections() -> dict[str, type[Section]]:
    """Return the class of each section, by section name."""
    return get_type_hints(Settings)


@cache
def fields() -> dict[tuple[str, str], Field]:
    """Return all settings, by section and name."""
    found = {}
    for section, model in sections().items():
        hints = get_type_hints(model, include_extras=True)
        for name in model.__struct_fields__:
            parts = list(_parts(hints[name]))
            found[section, name] = Field(
                section,
                name,
                hints[name],
                next(each for each in parts if not isinstance(each, (Meta, Check, Split))),
                tuple(each for each in parts if isinstance(each, Meta)),
                tuple(each for each in parts if isinstance(each, Check)),
                next((each for each in parts if isinstance(each, Split)), None),
            )
    return found


def _parts(annotation: Any) -> Iterable[Any]:
    """Yield the type in an annotation and its metadata, innermost first."""
    if get_origin(annotation) is Annotated:
        inner, *rest = get_args(annotation)
        yield from _parts(inner)
        yield from rest
    elif get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            if each is not type(None):
                yield from _parts(each)
    else:
        yield annotation


def _limits(metas: Iterable[Meta]) -> Iterable[str]:
    least = _last(metas, "ge")
    above = _last(metas, "gt")
    most = _last(metas, "le")
    if least is not None and most is not None:
        yield f"from {least} to {most}"
    elif least is not None:
        yield f"of at least {least}"
    else:
        if above is not None:
            yield f"greater than {above}" + (" and" if most is not None else "")
        if most is not None:
            yield f"of at most {most}"
    if _last(metas, "min_length") is not None:
        yield "that is not empty"


def _last(metas: Iterable[Meta], name: str) -> Any:
    values = [value for each in metas if (value := getattr(each, name)) is not None]
    return values[-1] if values else None


def _convert(kind: type[Any], value: Any) -> Any:
    """The decoder hook of msgspec, for types that it does not know."""
    if isinstance(value, kind):
        return value
    if kind in (Path, Secret) and isinstance(value, str):
        return kind(value)
    raise ValueError("want a string")
