"""A base class of bodies that refuses unknown fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class StrictModel(BaseModel):
    """Refuses a body with one error for all unknown fields: an error for each of a million would be a gigabyte."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.keys() <= cls.model_fields.keys():
            # Without the unknown name, which may be any text.
            names = {"names": ", ".join(cls.model_fields)}
            raise PydanticCustomError("extra_forbidden", "A field is none of {names}", names)
        return value
