"""Loads the application's Endpoint from `module:attribute`, with errors that tell users what to do."""

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

import mesh
from mesh.app.endpoint import Endpoint
from mesh.errors import ApplicationError

DEFAULT_ATTRIBUTE = "endpoint"
_PACKAGE_DIRECTORY = Path(mesh.__file__).parent


def load(spec: str) -> Endpoint:
    """Import the endpoint that `spec` names: `examples.chat:endpoint`, or just `examples.chat`.

    Raises:
        ApplicationError: naming what is wrong with the spec, the module or the attribute.
    """
    module_name, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ApplicationError(
            f"{spec!r} does not name an application; want MODULE:ATTRIBUTE, e.g. app:endpoint"
        )
    directory = Path.cwd()
    _check_name(directory)
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return _endpoint(_import(module_name), attribute or DEFAULT_ATTRIBUTE)


def _check_name(directory: Path) -> None:
    """Refuse a package or module of the application that has the name of the installed package."""
    for path in (directory / "mesh", directory / "mesh.py"):
        if (
            _is_python(path)
            and path.resolve() != _PACKAGE_DIRECTORY.resolve()
            and not _is_checkout(directory)
        ):
            raise ApplicationError(
                f"{path} has the name of Channelmesh's package; rename it, or start from another directory"
            )


def _is_python(path: Path) -> bool:
    """Return whether it is a module or a package; even without `__init__.py` it could not be imported."""
    return path.is_file() or any(path.glob("*.py"))


def _is_checkout(directory: Path) -> bool:
    project = directory / "pyproject.toml"
    return project.exists() and 'name = "channelmesh"' in project.read_text("utf-8")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            raise ApplicationError(f"no module {missing!r} in {Path.cwd()} or on sys.path") from None
        raise ApplicationError(f"{name} needs the module {missing!r}, which is not installed") from None
    except SystemExit as error:
        raise ApplicationError(f"{name} exits the process when it is imported ({_where(error)})") from None
    except Exception as error:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ApplicationError(
            f"{name} cannot be imported: {type(error).__name__}: {text} ({_where(error)})"
        ) from error


def _where(error: BaseException) -> str:
    """Return the last line of the application's own code, not of a library that it called."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if _is_application(each.filename)), frames[-1])
    return f"{frame.filename}:{frame.lineno}"


def _is_application(filename: str) -> bool:
    path = Path(filename)
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    return path.is_absolute() and not any(
        path.is_relative_to(each) for each in (*libraries, _PACKAGE_DIRECTORY)
    )


def _endpoint(module: ModuleType, attribute: str) -> Endpoint:
    found = getattr(module, attribute, None)
    if isinstance(found, Endpoint):
        return found
    others = [name for name, value in vars(module).items() if isinstance(value, Endpoint)]
    hint = f"; it has {', '.join(f'{module.__name__}:{name}' for name in others)}" if others else ""
    if found is None:
        raise ApplicationError(f"{module.__name__} has no attribute {attribute!r}{hint}")
    raise ApplicationError(
        f"{module.__name__}:{attribute} is a {type(found).__name__}, not an Endpoint{hint}"
    )
