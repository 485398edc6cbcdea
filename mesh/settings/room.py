"""What the models of all rooms share."""

from pydantic import BaseModel, ConfigDict


class Room(BaseModel):
    """Settings of one part of a node."""

    model_config = ConfigDict(extra="forbid", validate_default=True)
