"""Whether this process belongs to the `mesh` command alone, or to a test or another program."""

_claimed = False


def claim() -> None:
    """Declare that it does, so that signals, output and logs may be set for the whole process."""
    global _claimed
    _claimed = True


def claimed() -> bool:
    """Return whether this process belongs to the command alone."""
    return _claimed
