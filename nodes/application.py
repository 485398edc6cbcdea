"""From `module:attribute` to the application's Endpoint, with an error a user can act on."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

import gateway
import mesh
import nodes
from mesh.endpoint import Endpoint
from mesh.errors import ApplicationError

DEFAULT_ATTRIBUTE = "endpoint"
_OWN: tuple[ModuleType, ...] = (mesh, gateway, nodes)


def load(spec: str) -> Endpoint:
    """Import the endpoint that `spec` names: `examples.chat:endpoint`, or just `examples.chat`.

    Raises:
        ApplicationError: naming what is wrong with the spec, the module or the attribute.
    """
    module_name, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ApplicationError(f"{spec!r} names no application; want MODULE:ATTRIBUTE, e.g. app:endpoint")
    directory = Path.cwd()
    _check_names(directory)
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return _endpoint(_import(module_name), attribute or DEFAULT_ATTRIBUTE)


def _check_names(directory: Path) -> None:
    """Our packages are top-level: an application's own of the same name would be mixed up with them."""
    for own in _OWN:
        theirs = directory / own.__name__
        for path in (theirs / "__init__.py", theirs.with_suffix(".py")):
            ours = Path(own.__file__ or "")
            if path.exists() and path.resolve() != ours.resolve() and not _is_checkout(directory):
                raise ApplicationError(
                    f"{path} has the name of a Channelmesh package; rename it, or start from another"
                    " directory"
                )


def _is_checkout(directory: Path) -> bool:
    project = directory / "pyproject.toml"
    return project.exists() and 'name = "channelmesh"' in project.read_text("utf-8")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            raise ApplicationError(f"no module {missing!r} in {Path.cwd()} or on the path") from None
        raise ApplicationError(f"{name} needs the module {missing!r}, which is not installed") from None
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        raise ApplicationError(
            f"{name} cannot be imported: {type(error).__name__}: {error} ({where})"
        ) from error


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
