"""Writes files from templates; never overwrites a file."""

import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template

from mesh.errors import ApplicationError

_CAMEL = re.compile(r"[A-Z][A-Za-z0-9]*\Z")
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*\Z")
RESERVED = frozenset({"mesh", "tests", *sys.stdlib_module_names})

Files = dict[Path, tuple[str, dict[str, str]]]
"""By path: (template, its values)."""


def write(files: Files) -> list[Path]:
    """Write all files; if one of them exists, write none.

    Raises:
        ApplicationError: if a file exists already, or cannot be written.
    """
    existing = [path for path in files if path.exists()]
    if existing:
        raise ApplicationError(f"{existing[0]} already exists; nothing was written")
    written = []
    for path, (template, values) in files.items():
        text = resources.files("mesh.nodes.generators").joinpath("templates", template).read_text("utf-8")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                Template(text).substitute(values) if template.endswith(".tmpl") else text, "utf-8"
            )
        except OSError as error:
            raise ApplicationError(f"cannot write {path}: {error.strerror or error}") from None
        written.append(path)
    return written


def check_camel(name: str) -> str:
    """Return a name if it is CamelCase. Raises ApplicationError if it is not."""
    if not _CAMEL.match(name):
        raise ApplicationError(f"{name!r} is not a class name; want CamelCase, e.g. Room or ChatRoom")
    return name


def check_package(name: str) -> str:
    """Return a package's name if it is valid and free. Raises ApplicationError if it is not."""
    if not _PACKAGE.match(name) or keyword.iskeyword(name):
        raise ApplicationError(
            f"{name!r} is not a package name; want lower-case letters, digits and _, e.g. chat"
        )
    if name in RESERVED:
        raise ApplicationError(f"{name!r} is the name of another package; choose another, e.g. {name}_app")
    return name


def snake(camel: str) -> str:
    """Convert a name: ChatRoom becomes chat_room."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", camel).lower()


def find_package(directory: Path) -> str:
    """Return the package of the application in `directory`, whose __init__.py makes an Endpoint.

    Raises:
        ApplicationError: if there is none, or more than one.
    """
    found = sorted(
        path.parent.name
        for path in directory.glob("*/__init__.py")
        if "Endpoint(" in path.read_text("utf-8", "replace")
    )
    if len(found) != 1:
        what = (
            f"several packages with an Endpoint: {', '.join(found)}"
            if found
            else "no package with an Endpoint"
        )
        raise ApplicationError(f"{directory} has {what}; choose one with --package")
    return found[0]
