"""Which version of Channelmesh this is."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The installed version, or "unknown" when run from a tree that is not installed."""
    try:
        return version("channelmesh")
    except PackageNotFoundError:
        return "unknown"
