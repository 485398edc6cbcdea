"""Whether this process belongs to the `mesh` command alone, or to a test or another program."""

_ours = False


def take() -> None:
    """Declare that it does, so that signals, output and logs may be set for the whole process."""
    global _ours
    _ours = True


def ours() -> bool:
    """Return whether this process belongs to the command alone."""
    return _ours
