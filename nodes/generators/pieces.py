"""`mesh gen …`: a channel, a socket or a presence for an existing application."""

from pathlib import Path

from mesh.nodes.generators.render import Files, check_camel, check_package, snake, write


def channel(name: str, package: str, directory: Path) -> list[Path]:
    """Write a channel and its test. Raises ApplicationError for an invalid name or an existing file."""
    values = _values(name, package)
    stem = f"{values['snake']}_channel.py"
    files: Files = {
        directory / package / stem: ("pieces/channel.py.tmpl", values),
        directory / "tests" / f"test_{stem}": ("pieces/test_channel.py.tmpl", values),
    }
    return write(files)


def socket(name: str, package: str, directory: Path, from_channel: str | None) -> list[Path]:
    """Write a socket handler and a JavaScript file that connects to it. Raises as `channel`."""
    values = _values(name, package)
    values.update(imports="", channels="", topic="room:lobby")
    if from_channel is not None:
        joined = _values(from_channel, package)
        values["imports"] = f"\nfrom {package}.{joined['snake']}_channel import {joined['camel']}Channel\n"
        values["channels"] = f'"{joined["route"]}": {joined["camel"]}Channel'
        values["topic"] = f"{joined['snake']}:lobby"
    stem = f"{values['snake']}_socket"
    files: Files = {
        directory / package / f"{stem}.py": ("pieces/socket.py.tmpl", values),
        directory / package / "static" / f"{stem}.js": ("pieces/socket.js.tmpl", values),
    }
    return write(files)


def presence(name: str, package: str, directory: Path) -> list[Path]:
    """Write a Presence. Raises as `channel`."""
    values = _values(name, package)
    files: Files = {directory / package / f"{values['snake']}.py": ("pieces/presence.py.tmpl", values)}
    return write(files)


def _values(name: str, package: str) -> dict[str, str]:
    check_package(package)
    stem = snake(check_camel(name))
    return {"camel": name, "snake": stem, "route": f"{stem}:*", "package": package}
