"""What all parts of answers have in common."""

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """A part of an answer. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
