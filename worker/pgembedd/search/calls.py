"""The calls of the functions that search in SQL: a statement with the arguments that were given, and its result."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Generic, LiteralString, TypedDict, TypeVar

from psycopg import sql

from pgembedd.database.queries import query
from pgembedd.errors import SearchError
from pgembedd.search.hits import AnyHit, Hit, Pipeline, PipelineHit

Result = TypeVar("Result")
Row = dict[str, Any]

_ARGUMENTS: dict[str, LiteralString] = {
    "pipeline": "pipeline => %(pipeline)s::pg_catalog.text",
    "pipelines": "pipelines => %(pipelines)s::pg_catalog.text[]",
    "query": "query => %(query)s::pg_catalog.text",
    "like_key": "like_key => %(like_key)s::pg_catalog.jsonb",
    "key": "key => %(key)s::pg_catalog.jsonb",
    "bytes": "bytes => %(bytes)s::pg_catalog.int4",
    "name": "name => %(name)s::pg_catalog.text",
    "k": "k => %(k)s::pg_catalog.int4",
    "filter": "filter => %(filter)s::pg_catalog.jsonb",
    "mode": "mode => %(mode)s::pg_catalog.text",
    "per": "per => %(per)s::pg_catalog.text",
    "min_similarity": "min_similarity => %(min_similarity)s::pg_catalog.float8",
    "snippet_length": "snippet_length => %(snippet_length)s::pg_catalog.int4",
    "weights": "weights => %(weights)s::pg_catalog.float8[]",
    "rrf_k": "rrf_k => %(rrf_k)s::pg_catalog.int4",
    "after": "after => %(after)s::pg_catalog.int4",
    "marks": "marks => %(marks)s::pg_catalog.text[]",
    "with_hits": "with_hits => %(with_hits)s::pg_catalog.bool",
    # Without a cast: pgvector may be installed in any schema.
    "embedding": "embedding => %(embedding)s",
}
_AS_JSON = ("filter", "key", "like_key")
_INT4 = 2**31


class SimilarOptions(TypedDict, total=False):
    """The options of similar(); those that are left out have the defaults in SQL, here and below."""

    k: int
    filter: Mapping[str, Any] | None
    per: str
    min_similarity: float | None
    snippet_length: int


class SearchManyOptions(SimilarOptions, total=False):
    """The options of search_many()."""

    mode: str
    weights: Sequence[float]
    rrf_k: int
    marks: Sequence[str]


class SearchOptions(SearchManyOptions, total=False):
    """The options of search()."""

    embedding: Sequence[float] | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """A statement, its values, and what makes the result of its rows."""

    statement: sql.Composed
    values: dict[str, Any]
    read: Callable[[list[Row]], Result]


def search_call(pipeline: str, text: str | None, options: SearchOptions) -> Call[list[Hit]]:
    """Returns the call of search()."""
    return _call("search", {"pipeline": pipeline, "query": text}, _hits, options, SearchOptions)


def search_many_call(pipelines: Sequence[str], text: str, options: SearchManyOptions) -> Call[list[PipelineHit]]:
    """Returns the call of search_many(). TypeError for one name in the place of several."""
    if isinstance(pipelines, str):
        raise TypeError(f"search_many() takes a list of pipelines, such as [{pipelines!r}].")
    return _call("search_many", {"pipelines": pipelines, "query": text}, _pipeline_hits, options, SearchManyOptions)


def similar_call(pipeline: str, key: Any, options: SimilarOptions) -> Call[list[Hit]]:
    """Returns the call of similar()."""
    return _call("similar", {"pipeline": pipeline, "like_key": key}, _hits, options, SimilarOptions)


def explain_call(
    pipeline: str, text: str | None, options: SearchOptions, *, with_hits: bool = False
) -> Call[dict[str, Any]]:
    """Returns the call of explain_search(), which takes no options of snippets, fusion and pages."""
    without = ("snippet_length", "weights", "rrf_k", "after", "marks")
    given = {name: value for name, value in options.items() if name not in without}
    asked = {"pipeline": pipeline, "query": text} | ({"with_hits": True} if with_hits else {})
    return _call("explain_search", asked, lambda rows: _ordered(rows[0]["e"]), given, SearchOptions)


def _ordered(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns a plan with what is looked for first at its beginning; jsonb has an order of its own."""
    first = ("semantic", "text", "path", "index", "rows_visited")
    names = sorted(plan, key=lambda name: first.index(name) if name in first else len(first))
    return {name: _ordered(plan[name]) if isinstance(plan[name], dict) else plan[name] for name in names}


def row_call(pipeline: str, key: Any, limit: int | None = None) -> Call[dict[str, Any] | None]:
    """Returns the call of search_row(); its result is None without such a row."""
    asked = {"pipeline": pipeline, "key": key} | ({} if limit is None else {"bytes": limit})
    return _call("search_row", asked, lambda rows: rows[0]["r"])


def pipelines_call(name: str | None = None) -> Call[list[Pipeline]]:
    """Returns the call of search_pipelines(): of all, or of one."""
    return _call("search_pipelines", {} if name is None else {"name": name}, _pipelines)


def _call(
    name: str,
    asked: Mapping[str, Any],
    read: Callable[[list[Row]], Result],
    options: Mapping[str, Any] = MappingProxyType({}),
    kind: type[SimilarOptions] = SimilarOptions,
) -> Call[Result]:
    """Returns the call of a function with the options that were given, of those of its kind. TypeError for others."""
    if unknown := sorted(options.keys() - kind.__annotations__.keys()):
        raise TypeError(f"{name}() has no argument {unknown[0]!r}; there are {', '.join(kind.__annotations__)}.")
    given = {**asked, **options}
    arguments = sql.SQL(", ").join(sql.SQL(_ARGUMENTS[name]) for name in given)
    values = {name: _value(name, value) for name, value in given.items()}
    return Call(sql.SQL(query(name)).format(arguments=arguments), values, read)


def _value(name: str, value: Any) -> Any:
    """Returns the value as Postgres takes it. SearchError for one that it cannot be told."""
    if value is None and name not in ("key", "like_key"):
        return None
    if name in _AS_JSON:
        return as_json(name, value)
    if name == "embedding":
        return f"[{','.join(map(str, map(float, value)))}]"
    if name in ("pipelines", "weights", "marks"):
        return [_value(f"member of {name}", member) for member in value]
    if isinstance(value, str):
        check_text(name, value)
    if isinstance(value, int) and not -_INT4 <= value < _INT4:
        raise SearchError(f"{name} is out of range.", "docs/reference/sql.md lists the ranges.", "22003")
    return value


def as_json(name: str, value: Any) -> str:
    """Returns a value as JSON that Postgres takes. SearchError, with its `name`, for any other."""
    try:
        written = json.dumps(value, default=str, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError, TypeError) as error:
        raise SearchError(
            f"The {name} cannot be written as JSON.", "Give text, numbers, lists, dicts.", "22023"
        ) from error
    check_text(name, written)
    if "\\u0000" in written.replace("\\\\", ""):
        check_text(name, "\0")
    return written


def check_text(name: str, text: str) -> None:
    """Raises SearchError for a text that Postgres cannot hold."""
    if "\0" in text or not _is_encodable(text):
        raise SearchError(
            f"The {name} holds a character that no text in Postgres can.",
            "It is of code zero, or half a pair.",
            "22021",
        )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hits(rows: list[Row]) -> list[Hit]:
    return [_hit(Hit, row) for row in rows]


def _pipeline_hits(rows: list[Row]) -> list[PipelineHit]:
    return [_hit(PipelineHit, row) for row in rows]


def _hit(kind: type[AnyHit], row: Row) -> AnyHit:
    return kind(**{field.name: row[field.name] for field in fields(kind) if field.name in row})


def _pipelines(rows: list[Row]) -> list[Pipeline]:
    return [
        Pipeline(
            name=row["pipeline"],
            columns={column["name"]: column["type"] for column in row["columns"]},
            **{name: row[name] for name in Pipeline.__slots__ if name in row and name != "columns"},
        )
        for row in rows
    ]
