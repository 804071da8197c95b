"""Bodies with these fields and no others."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

SHOWN = 40  # characters of a name that we did not give


class NoOthers(BaseModel):
    """A body that is refused at its first unknown field, since an error for each of a million would be a gigabyte."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in value:
                if name not in cls.model_fields:
                    shown = str(name)[:SHOWN].encode("ascii", "backslashreplace").decode()
                    raise PydanticCustomError("extra_forbidden", "There is no field '{name}'", {"name": shown})
        return value
