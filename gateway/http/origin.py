"""Checks whether a page of an Origin may connect. Source: Phoenix.Socket.Transport.check_origin.

A request without an Origin header always passes, because it does not come from a web page.
"""

from urllib.parse import SplitResult, urlsplit

from mesh.app.mount import CheckOrigin
from mesh.errors import SettingsError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class OriginCheck:
    """One mount's origin check.

    Args:
        rule: as `Endpoint.check_origin`.
        url_host: the host that the rule `True` compares with; all names of the loopback host are equal.

    Attributes:
        rule: the rule given.

    Raises:
        SettingsError: if the rule is invalid.
    """

    def __init__(self, rule: CheckOrigin, url_host: str) -> None:
        self.rule = rule
        self._url_host = url_host.lower()
        if isinstance(rule, str) and rule != "conn":
            raise SettingsError(f"check_origin {rule!r}: want True, False, a list, 'conn' or a function")
        if not isinstance(rule, (bool, str)) and not callable(rule):
            self._patterns = [_pattern(each) for each in rule]

    def allows(self, origin: str | None, scheme: str, host: str) -> bool:
        """Return whether `origin` may connect with a request of this scheme and Host header."""
        if origin is None or self.rule is False:
            return True
        if callable(self.rule):
            return bool(self.rule(origin))
        try:
            parsed = urlsplit(origin)
            parsed.port  # noqa: B018  (raises for an invalid port)
            own = _parts(urlsplit(f"{scheme}://{host}")) if self.rule == "conn" else None
        except ValueError:
            return False
        if not parsed.hostname:
            return False
        if self.rule is True:
            return _same_host(parsed.hostname, self._url_host)
        if self.rule == "conn":
            return _parts(parsed) == own
        return any(_matches(parsed, pattern) for pattern in self._patterns)

    def log_fields(self, scheme: str, host: str, source: str) -> dict[str, object]:
        """Return log fields: what a refused origin was compared with, and which settings change that."""
        if self.rule is True:
            return {
                "allowed": f"host {self._url_host}",
                "setting": "gateway.url_host, or check_origin of the endpoint or the mount",
            }
        if self.rule == "conn":
            try:
                _, name, port = _parts(urlsplit(f"{scheme}://{host}"))
            except ValueError:
                name, port = host[:200], None
            name = f"[{name}]" if name and ":" in name else name
            return {
                "allowed": f"{scheme}://{name}:{port}",
                "allowed_from": source,
                "setting": "gateway.trusted_proxies, or check_origin of the endpoint or the mount",
            }
        allowed = "what the function accepts" if callable(self.rule) else list(self.rule)  # type: ignore[arg-type]
        return {"allowed": allowed, "setting": "check_origin of the endpoint or the mount"}


def _same_host(one: str, other: str) -> bool:
    return one == other or (one in LOOPBACK and other in LOOPBACK)


def _pattern(text: object) -> SplitResult:
    if not isinstance(text, str):
        raise SettingsError(f"check_origin {text!r} is not a string; want 'https://example.com'")
    try:
        parsed = urlsplit(text)
        parsed.port  # noqa: B018
    except ValueError:
        raise SettingsError(f"check_origin {text!r} has a port that is not a number") from None
    if not parsed.netloc:
        raise SettingsError(f"check_origin {text!r}: want 'https://example.com' or '//example.com'")
    return parsed


def _parts(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


def _matches(origin: SplitResult, pattern: SplitResult) -> bool:
    scheme, host, port = _parts(origin)
    if pattern.scheme and pattern.scheme != scheme:
        return False
    # As in Phoenix, whose URI parser fills in the port: a scheme in a pattern implies its default port.
    wanted_port = pattern.port or _DEFAULT_PORTS.get(pattern.scheme)
    if wanted_port and wanted_port != port:
        return False
    wanted = pattern.hostname or ""
    if wanted.startswith("*."):
        return host == wanted[2:] or (host or "").endswith(wanted[1:])
    return host == wanted
