"""The arguments of the tools: what a client may send, and the JSON schema that tells it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pgembedd.answers.options import AskOptions
from pgembedd.errors import ConfigurationError
from pgembedd.search.fields import Name, option_fields
from pgembedd.search.options import SearchOptions, SimilarOptions
from pgembedd.settings import limits

MAX_HITS = 50


class Arguments(BaseModel):
    """No argument."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PipelineArguments(Arguments):
    """A pipeline."""

    pipeline: Name = Field(description="The name of a pipeline, as list_pipelines has it.")


class RowArguments(PipelineArguments):
    """A row: its pipeline and its key."""

    key: Any = Field(description="The key of a hit: a value, or an object of the key's columns.")


class QueryArguments(PipelineArguments):
    """A query to a pipeline."""

    query: str = Field(max_length=limits.QUERY, description="What to look for, in plain words.")


class QuestionArguments(PipelineArguments):
    """A question to a pipeline."""

    question: str = Field(max_length=limits.QUESTION, description="The question, in plain words.")


SEARCH_ARGUMENTS, SIMILAR_ARGUMENTS, ASK_ARGUMENTS = (
    create_model(
        "Arguments",
        __base__=base,
        __doc__=f"The arguments of {function}() in SQL, those left out have its defaults.",
        **option_fields(kind, most={"k": MAX_HITS}, without=("embedding", "thread"), for_assistants=True),
    )
    for function, base, kind in (
        ("search", QueryArguments, SearchOptions),
        ("similar", RowArguments, SimilarOptions),
        ("ask", QuestionArguments, AskOptions),
    )
)


def read(kind: type[Arguments], given: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the arguments that were given. ConfigurationError, without their values, where they do not fit."""
    try:
        return kind.model_validate(given or {}).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the arguments"
        raise ConfigurationError(f"{where}: {first['msg']}.") from error
