"""Removes secrets from parameters and text before they are logged. Source: Phoenix.Logger's
filter_parameters.

A name is secret if it contains one of the terms, ignoring case and word separators: `api_key` also hides
`apiKey`, `API-KEY` and `x-api-key`. Names may be nested (`user[password]`) and percent-encoded. In text,
variables of paths (`/socket/:token`) are hidden too.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

from mesh.telemetry import path_variables

DEFAULT_FILTER = (
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "credential",
    "cookie",
    "bearer",
    "jwt",
    "pwd",
)
HIDDEN = "[FILTERED]"
MAX_TEXT = 20_000
"""The most characters of a text that are examined; the rest is cut off."""
MAX_VALUES = 1_000
"""The most values of one set of parameters that are shown, at all levels together."""
MAX_DEPTH = 20
MAX_CHARACTERS = 2_000
"""The limit for one text among parameters."""

_NOT_A_LETTER = re.compile(r"[\W_]+")
_ESCAPE = re.compile(r"\\u00([0-9a-fA-F]{2})")
_SEPARATOR = re.compile(r"""["'\]]{0,2}\s{0,3}(=>?|:|%(?:25)*3[dDaA]|\\u003[dD])\s{0,3}""")
_NAME_BEFORE = re.compile(r"[\w.%~+\-\[\]\\ ]+\Z")
_PAIR = re.compile(r"""[(\[]\s{0,3}b?(["'])([^"'\n]{1,80})\1\s{0,3},\s{0,3}(?=b?["'])""")
_NAMED_VALUE = re.compile(
    r"""["'](?:name|key|field|header)["']\s{0,3}:\s{0,3}b?(["'])([^"'\n]{1,80})\1\s{0,3},"""
    r"""[^{}]{0,200}?["']values?["']\s{0,3}:\s{0,3}""",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"""[bBrRuUfF]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)
# Brackets between quotes close nothing. Without a closing quote, the rest of the text is quoted.
_BRACKET_OR_QUOTED = re.compile(
    r"""[\[\](){}<>]|"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)""", re.DOTALL
)
_PLAIN = re.compile(r"(?:(?:bearer|basic|digest|negotiate)\s+)?[^\s&]*", re.IGNORECASE)
_UNTIL_COMMA = re.compile(r"[^,}\]\n]*")
_UNTIL_LINE_END = re.compile(r"[^\n]*")
_BEARER = re.compile(r"""(base64url\.bearer\.phx\.)[^\s,'"&]+""")
_SCHEME = re.compile(r"\b((?:bearer|basic)(?:\s+|\+|%(?:25)*20))[\w+/=.~%\-]{16,}", re.IGNORECASE)
# A password may contain "@", "/" and unescaped quotes; what looks like a port is not one.
_USER_INFO = re.compile(r"""(//[^\s/:@?#'"\[]*:)(?!\d{1,5}(?:[/?#'",\s]|\Z))[^\s"]{1,200}@""")
_USER_ONLY = re.compile(r"""(://)[^\s/:@?#'"]{16,}@""")
_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?=-----END|\Z)", re.DOTALL)
_NAMES, _VALUES = frozenset({"name", "key", "field", "header"}), frozenset({"value", "values"})
_NAMED_KEYS = 20
"""The most keys of an object among which a name and its value are looked for."""
_EXCEPTION_NAME = re.compile(r"(?:Error|Exception|Warning|Expired)\Z")
_OPENING, _CLOSING = "[({<", "])}>"
_NAME_CHARACTERS = 80


class ParameterFilter:
    """Hides values by their names, at any level, and in text.

    Args:
        hide: a parameter is hidden if its name contains one of these.
        keep: if given, every other parameter is hidden instead.
    """

    def __init__(self, hide: Sequence[str] = DEFAULT_FILTER, keep: Sequence[str] | None = None) -> None:
        self._terms = tuple(filter(None, map(_letters, hide)))
        self._keep = None if keep is None else frozenset(keep)
        self._is_secret = lru_cache(1_024)(self._find_term)
        self._paths: dict[str, re.Pattern[str]] = {}

    def __call__(self, value: Any) -> Any:
        """Return a bounded copy of parameters with secrets hidden; bytes are replaced by their length."""
        return self._copy(value, [MAX_VALUES], MAX_DEPTH)

    def text(self, text: str) -> str:
        """Return text with the values after secret names hidden: in URLs, headers, reprs, tracebacks."""
        if len(text) > MAX_TEXT:
            text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
        for path in self._paths.values():
            text = path.sub(_hide_between_groups, text)
        if "=" in text or ":" in text or "%" in text or "\\u" in text:
            text = self._hide_after_names(text)
        if "," in text:
            text = self._hide_in_pairs(text)
        if "earer" in text or "asic" in text or "EARER" in text:
            text = _SCHEME.sub(rf"\1{HIDDEN}", _BEARER.sub(rf"\1{HIDDEN}", text))
        if "-----BEGIN" in text:
            text = _PEM.sub(rf"\1{HIDDEN}", text)
        if "@" in text:
            text = _USER_ONLY.sub(rf"\1{HIDDEN}@", _USER_INFO.sub(rf"\1{HIDDEN}@", text))
        return text

    def hide_in_path(self, path: str) -> None:
        """From now on, also hide the secret variables of `path` (`/socket/:token`) in text."""
        pattern = path_variables.pattern(path, lambda name: not self._shows(name))
        if pattern is not None:
            self._paths[path] = pattern

    def _copy(self, value: Any, budget: list[int], depth: int) -> Any:
        budget[0] -= 1
        if budget[0] < 0 or depth < 0:
            return "…"
        if isinstance(value, dict):
            named = any(map(self._is_secret_pair, islice(value.items(), _NAMED_KEYS)))
            return {
                self._copy_name(key): HIDDEN
                if (named and _lower(key) in _VALUES) or not self._shows(key)
                else self._copy(inner, budget, depth - 1)
                for key, inner in _first(value.items(), budget)
            }
        if isinstance(value, (list, tuple)):
            if len(value) == 2 and isinstance(value[0], str) and self._names_secret(value[0]):
                return [value[0], HIDDEN]
            return [self._copy(inner, budget, depth - 1) for inner in _first(value, budget)]
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"{len(value)} bytes"
        return self._copy_text(value) if isinstance(value, str) else value

    def _is_secret_pair(self, item: tuple[Any, Any]) -> bool:
        key, value = item
        return isinstance(value, str) and _lower(key) in _NAMES and self._names_secret(value)

    def _copy_name(self, name: Any) -> Any:
        """A name may contain a secret too, e.g. that of `?token%3DSECRET`."""
        return self.text(name) if isinstance(name, str) else name

    def _copy_text(self, value: str) -> str:
        if self._keep is None:
            shown = self.text(value)
            if shown != value and len(value) <= MAX_TEXT:
                value = HIDDEN if "=" in value or "%" in value else shown
        if len(value) > MAX_CHARACTERS:
            return f"{value[:MAX_CHARACTERS]}… ({len(value)} characters)"
        return value

    def _shows(self, name: Any) -> bool:
        if self._keep is not None:
            return name in self._keep
        return not self._names_secret(str(name))

    def _names_secret(self, name: str) -> bool:
        return self._is_secret(name[-_NAME_CHARACTERS:] if len(name) > 4 * _NAME_CHARACTERS else name)

    def _find_term(self, name: str) -> bool:
        letters = _letters(name)
        return any(term in letters for term in self._terms)

    def _hide_after_names(self, text: str) -> str:
        parts, end = [], 0
        for separator in _SEPARATOR.finditer(text):
            start = separator.start()
            if start < end:
                continue  # within a value that is already hidden
            name = _NAME_BEFORE.search(text, max(end, start - _NAME_CHARACTERS), start)
            if name is None or not self._hides(text, name, separator):
                continue
            quoted = text[start] in "\"'"
            value_end = _value_end(text, separator.end(), separator[1] in (":", "=>"), quoted)
            if value_end > separator.end():
                parts += [text[end : separator.end()], HIDDEN]
                end = value_end
        return "".join([*parts, text[end:]]) if parts else text

    def _hides(self, text: str, name: re.Match[str], separator: re.Match[str]) -> bool:
        words = " ".join(name[0].split(" ")[-2:])
        if separator[1] == ":" and _EXCEPTION_NAME.search(words):
            return False  # the name of an exception, followed by its message
        if self._names_secret(words):
            return True
        in_query = name.start() > 0 and text[name.start() - 1] in "?&"
        return self._keep is not None and in_query and unquote(words) not in self._keep

    def _hide_in_pairs(self, text: str) -> str:
        for pattern in (_PAIR, _NAMED_VALUE):
            parts, end = [], 0
            for pair in pattern.finditer(text):
                if pair.start() >= end and self._names_secret(pair[2]):
                    parts += [text[end : pair.end()], HIDDEN]
                    end = _value_end(text, pair.end(), True, True)
            text = "".join([*parts, text[end:]])
        return text


def _hide_between_groups(match: re.Match[str]) -> str:
    return HIDDEN.join(match.groups())


def _lower(name: Any) -> Any:
    return name.lower() if isinstance(name, str) else name


def _letters(name: str) -> str:
    """Return a name without case, word separators and encoding."""
    for _ in range(3):
        if "%" not in name:
            break
        name = unquote(name)
    if "\\u" in name:
        name = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
    return _NOT_A_LETTER.sub("", unicodedata.normalize("NFKC", name).casefold())


def _value_end(text: str, start: int, colon: bool, quoted_name: bool) -> int:
    quoted = _QUOTED.match(text, start)
    end = start
    if quoted is not None:
        end = quoted.end()
    elif text[start : start + 1] in (*_OPENING,):
        end = _closing_position(text, start)
    if colon:
        if end > start:
            return end
        return (_UNTIL_COMMA if quoted_name else _UNTIL_LINE_END).match(text, start).end()  # type: ignore[union-attr]
    plain = _PLAIN.match(text, end)  # in an address quotes and brackets end nothing
    assert plain is not None
    return end + len(plain[0].rstrip("\"'),;]}>"))


def _closing_position(text: str, start: int) -> int:
    """Return the position after the bracket that closes the one at `start`, or the end of the text."""
    depth = 0
    for part in _BRACKET_OR_QUOTED.finditer(text, start):
        if part[0] in _OPENING:
            depth += 1
        elif part[0] in _CLOSING:
            depth -= 1
            if depth == 0:
                return part.end()
    return len(text)


def _first(values: Any, budget: list[int]) -> Any:
    """Return as many values as fit into the budget."""
    for value in values:
        if budget[0] <= 0:
            return
        yield value
