"""The version of Channelmesh."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Return the installed version, or "unknown" if Channelmesh is not installed."""
    try:
        return version("channelmesh")
    except PackageNotFoundError:
        return "unknown"
