"""The arguments of the tools: what a client may send, and the JSON schema that tells it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgembedd import limits
from pgembedd.errors import ConfigurationError

MAX_HITS = 50
_PIPELINE = "The name of a pipeline, as list_pipelines has it."
_FILTER = (
    'Conditions on columns of the pipeline, all of which must hold, as {"section": "faq", "year": {"$gte": 2020}}. '
    "Operators: $ne, $gt, $gte, $lt, $lte, $in, $nin, $between, $like, $ilike, $exists, $contains, and $and, $or, $not."
)


Name = Annotated[str, Field(max_length=limits.NAME)]
Filter = Annotated[dict[str, Any], Field(max_length=limits.CONDITIONS)]


class Arguments(BaseModel):
    """No argument."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RowArguments(Arguments):
    """A row: its pipeline and its key."""

    pipeline: Name = Field(description=_PIPELINE)
    key: Any = Field(description="The key of a hit: a value, or an object of the key's columns.")


class HitsArguments(Arguments):
    """The arguments that both searches have; those left out have the defaults of SQL."""

    pipeline: Name = Field(description=_PIPELINE)
    k: int = Field(default=10, ge=1, le=MAX_HITS, description="How many hits at most.")
    filter: Filter | None = Field(default=None, description=_FILTER)
    per: Literal["row", "chunk"] = Field(
        default="row", description="Each row once, with its best chunk; or every chunk of long rows."
    )
    min_similarity: float | None = Field(
        default=None,
        ge=-limits.SIMILARITY,
        le=limits.SIMILARITY,
        description="Leaves out what is less similar; at most 1.",
    )


class SearchArguments(HitsArguments):
    """The arguments of search() in SQL."""

    query: str = Field(max_length=limits.QUERY, description="What to look for, in plain words.")
    mode: Literal["hybrid", "semantic", "text"] | None = Field(
        default=None, description="By meaning and words, by meaning alone, or by words alone."
    )


class SimilarArguments(RowArguments, HitsArguments):
    """The arguments of similar() in SQL."""


class AskArguments(Arguments):
    """The arguments of ask() in SQL."""

    pipeline: Name = Field(description=_PIPELINE)
    question: str = Field(max_length=limits.QUESTION, description="The question, in plain words.")
    filter: Filter | None = Field(default=None, description=_FILTER)
    k: int = Field(default=6, ge=1, le=MAX_HITS, description="How many sources at most.")
    model: Name | None = Field(
        default=None, description="A language model that may be named; without it, the pipeline's."
    )


def read(kind: type[Arguments], given: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the arguments that were given. ConfigurationError, without their values, where they do not fit."""
    try:
        return kind.model_validate(given or {}).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the arguments"
        raise ConfigurationError(f"{where}: {first['msg']}.") from error
