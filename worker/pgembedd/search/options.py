"""The options of a search, each declared once: HTTP, the tools, the command line, Python and the documents follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

from pgembedd.settings import limits

MODES = ("hybrid", "semantic", "text")
NOT_IN_SQL = ("rerank",)


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of an option, in addition to its type.

    `least` and `most` bound a number, each number of a list, the characters of each text of a list, or the members of
    an object; `members` is how many a list has. `choices` are the words that a text may be. `is_rare` for a member of
    SQL's parameter `options`.
    """

    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    members: int = 0
    choices: tuple[str, ...] = ()
    is_rare: bool = False


class SimilarOptions(TypedDict, total=False):
    """The options of similar(); those that are left out have the defaults in SQL, here and below."""

    k: Annotated[int, Option(10, "How many hits at most.", 1, limits.HITS)]
    filter: Annotated[
        Mapping[str, Any] | None,
        Option(
            None,
            'Conditions on columns of the source, which must all hold, as {"section": "faq", "year": {"$gte": 2020}}. '
            "Operators: $ne, $gt, $gte, $lt, $lte, $in, $nin, $between, $like, $ilike, $exists, $contains, and $and, "
            "$or, $not.",
            most=limits.CONDITIONS,
        ),
    ]
    skip: Annotated[int, Option(0, "How many hits to leave out: 10 for the second page of 10.", 0, limits.HITS)]
    min_similarity: Annotated[
        float | None, Option(None, "Leaves out what is less similar.", -limits.SIMILARITY, limits.SIMILARITY)
    ]
    per: Annotated[
        str, Option("row", "`row`: each row once, with its best chunk; `chunk`: every chunk.", choices=("row", "chunk"))
    ]
    snippet_length: Annotated[
        int, Option(200, "Characters of a snippet at most; 0: none.", 0, limits.SNIPPET, is_rare=True)
    ]


class SearchManyOptions(SimilarOptions, total=False):
    """The options of search_many()."""

    mode: Annotated[
        str, Option("hybrid", "`hybrid`: by meaning and words; `semantic`, `text`: by one of them.", choices=MODES)
    ]
    semantic_weight: Annotated[
        float, Option(1, "How much the order by meaning counts.", 0, limits.WEIGHT, is_rare=True)
    ]
    text_weight: Annotated[float, Option(1, "How much the order by words counts.", 0, limits.WEIGHT, is_rare=True)]
    rrf_k: Annotated[
        int, Option(60, "How little the first places of both orders count.", 1, limits.RRF_K, is_rare=True)
    ]
    snippet_marks: Annotated[
        Sequence[str],
        Option(
            ("**", "**"),
            "Put before and after the query's words in a snippet.",
            most=limits.MARK,
            members=2,
            is_rare=True,
        ),
    ]


class SearchOptions(SearchManyOptions, total=False):
    """The options of search(). A vector is given by programs alone, and `rerank` is done outside of SQL."""

    embedding: Annotated[Sequence[float] | None, Option(None, "The query's vector, of the pipeline's model.")]
    rerank: Annotated[str | None, Option(None, "A reranker, as ms-marco-minilm-l12, for the first 20 hits.")]


def options_of(kind: type) -> dict[str, tuple[type, Option]]:
    """Returns the type and the declaration of each option; of one that may be None, the other type."""
    hints = {name: get_args(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return {name: (_not_none(declared), option) for name, (declared, option) in hints.items()}


def _not_none(declared: type) -> type:
    return next((one for one in get_args(declared) if type(None) in get_args(declared)), declared)


def with_defaults(options: SearchOptions) -> SearchOptions:
    """Returns the options, with the defaults of those that are left out."""
    defaults: Any = {name: option.default for name, (_, option) in options_of(SearchOptions).items()}
    return {**defaults, **options}
