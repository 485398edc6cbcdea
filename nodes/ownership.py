"""Whether this process belongs to the `mesh` command alone, or to a test or another program."""

_ours = False


def take() -> None:
    """It belongs to the command alone: signals, output and logs may be set for the whole process."""
    global _ours
    _ours = True


def ours() -> bool:
    """Whether it does."""
    return _ours
