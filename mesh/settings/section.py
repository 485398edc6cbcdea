"""The base class of the sections of settings."""

import msgspec


class Section(msgspec.Struct, frozen=True):
    """Settings of one part of a node. Values are checked where they are read (`fields.py`)."""

    def conflicts(self) -> dict[str, str]:
        """Return, by setting name, why a value conflicts with others of the section."""
        return {}
