"""Types of parameters with their bounds (limits.py)."""

from typing import Annotated, Any

from pydantic import Field

from pgembedd import limits

Name = Annotated[str, Field(max_length=limits.NAME)]
Filter = Annotated[dict[str, Any], Field(max_length=limits.CONDITIONS)]
Similarity = Annotated[float, Field(ge=-limits.SIMILARITY, le=limits.SIMILARITY)]
Weight = Annotated[float, Field(ge=0, le=limits.WEIGHT)]
Mark = Annotated[str, Field(max_length=limits.MARK)]
