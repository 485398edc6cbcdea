"""What the models of all sections share."""

import msgspec


class Section(msgspec.Struct, frozen=True):
    """Settings of one part of a node. Values are checked where they are read (`fields.py`)."""

    def conflicts(self) -> dict[str, str]:
        """By name: what is wrong with a value beside the other ones."""
        return {}
