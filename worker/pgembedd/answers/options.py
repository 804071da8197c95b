"""The options of a question, each declared once: HTTP, the tools and the command line follow."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict
from uuid import UUID

from pgembedd.search.options import Option, SearchOptions, options_of
from pgembedd.settings import limits


class AskOptions(TypedDict, total=False):
    """The options of ask(); those that are left out have the defaults in SQL."""

    k: Annotated[int, Option(6, "How many sources at most.", 1, limits.SOURCES)]
    filter: Annotated[Mapping[str, Any] | None, options_of(SearchOptions)["filter"][1]]
    language_model: Annotated[
        str | None, Option(None, "A language model that the pipeline allows; none: the pipeline's, else the worker's.")
    ]
    thread: Annotated[UUID | None, Option(None, "The thread of an earlier answer, which the question goes on with.")]
