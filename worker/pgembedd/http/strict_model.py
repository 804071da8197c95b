"""Bodies with these fields and no others."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class StrictModel(BaseModel):
    """A body that is refused as a whole for an unknown field: an error for each of a million would be a gigabyte."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.keys() <= cls.model_fields.keys():
            # The name is not told: it may be anything, and whoever sent it has it.
            names = {"names": ", ".join(cls.model_fields)}
            raise PydanticCustomError("extra_forbidden", "A field is none of {names}", names)
        return value
