"""`mesh new`: a whole application, runnable and tested."""

from pathlib import Path

from mesh.nodes.generators.render import Files, check_package, write


def new(name: str, directory: Path) -> list[Path]:
    """Write the application `name` into `directory`/`name`; returns its files.

    Raises:
        ApplicationError: if the name is invalid, or a file exists already.
    """
    check_package(name)
    root = directory / name
    package = root / name
    templates = {
        root / "README.md": "README.md.tmpl",
        root / "pyproject.toml": "pyproject.toml.tmpl",
        root / "mesh.toml": "mesh.toml.tmpl",
        root / ".gitignore": "gitignore.tmpl",
        package / "__init__.py": "__init__.py.tmpl",
        package / "user_socket.py": "user_socket.py.tmpl",
        package / "room_channel.py": "room_channel.py.tmpl",
        package / "static" / "index.html": "index.html.tmpl",
        package / "static" / "channelmesh.js": "channelmesh.js",
        package / "static" / "presence.js": "presence.js",
        root / "tests" / "conftest.py": "conftest.py.tmpl",
        root / "tests" / "test_room_channel.py": "test_room_channel.py.tmpl",
    }
    files: Files = {
        path: (f"application/{template}", {"name": name}) for path, template in templates.items()
    }
    return write(files)
