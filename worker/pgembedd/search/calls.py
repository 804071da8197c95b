"""The calls of the functions that search in SQL: a statement with the arguments that were given, and its result."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

from psycopg import sql

from pgembedd.database.queries import query
from pgembedd.errors import SearchError
from pgembedd.search.hits import AnyHit, Hit, Pipeline
from pgembedd.search.options import NOT_IN_SQL, SearchOptions, SimilarOptions, options_of
from pgembedd.settings.documentation import page

Result = TypeVar("Result")
Row = dict[str, Any]

_CASTS: dict[Any, LiteralString] = {
    str: "::pg_catalog.text",
    int: "::pg_catalog.int4",
    bool: "::pg_catalog.bool",
    float: "::pg_catalog.float8",
    UUID: "::pg_catalog.uuid",
    Mapping[str, Any]: "::pg_catalog.jsonb",
    Sequence[str]: "::pg_catalog.text[]",
}
_OPTIONS = options_of(SearchOptions)
_TYPES: dict[str, Any] = {name: kind for name, (kind, _) in _OPTIONS.items()} | {
    "pipeline": str,
    "pipelines": Sequence[str],
    "query": str,
    "question": str,
    "language_model": str,
    "thread": UUID,
    "key": Mapping[str, Any],
    "options": Mapping[str, Any],
    "bytes": int,
    "with_hits": bool,
    "embedding": None,  # without a cast: pgvector may be installed in any schema
}
_INT4 = 2**31


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """A statement, its values, and what makes the result of its rows."""

    statement: sql.Composed
    values: dict[str, Any]
    read: Callable[[list[Row]], Result]


def search_call(pipeline: str, text: str | None, options: SearchOptions) -> Call[list[Hit]]:
    """Returns the call of search()."""
    return hits_call("search", {"pipeline": pipeline, "query": text}, Hit, options, SearchOptions)


def hits_call(
    name: str, asked: Mapping[str, Any], hit: type[AnyHit], options: Mapping[str, Any], kind: type[SimilarOptions]
) -> Call[list[AnyHit]]:
    """Returns the call of a function that returns hits. TypeError for an option that is not of its kind."""
    names = [field.name for field in fields(hit)]

    def read(rows: list[Row]) -> list[AnyHit]:
        return [hit(**{name: row[name] for name in names if name in row}) for row in rows]

    return named_call(name, {**asked, **_options(name, options, kind)}, read)


def explain_call(
    pipeline: str, text: str | None, options: SearchOptions, *, with_hits: bool = False
) -> Call[dict[str, Any]]:
    """Returns the call of explain_search()."""
    asked = {"pipeline": pipeline, "query": text} | ({"with_hits": True} if with_hits else {})
    given = _options("explain_search", options, SearchOptions)
    return named_call("explain_search", {**asked, **given}, lambda rows: _ordered(rows[0]["e"]))


def _ordered(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns a plan with what is looked for first at its beginning; jsonb keeps no order."""
    first = ("semantic", "text", "path", "index", "rows_visited")
    names = sorted(plan, key=lambda name: first.index(name) if name in first else len(first))
    return {name: _ordered(plan[name]) if isinstance(plan[name], dict) else plan[name] for name in names}


def pipelines_call(name: str | None = None) -> Call[list[Pipeline]]:
    """Returns the call of search_pipelines(): of all, or of one."""
    return named_call("search_pipelines", {} if name is None else {"pipeline": name}, _pipelines)


def named_call(name: str, given: Mapping[str, Any], read: Callable[[list[Row]], Result]) -> Call[Result]:
    """Returns the call of the function of a named statement with these arguments."""
    arguments = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) + sql.SQL(_CASTS.get(_TYPES[name], ""))
        for name in given
    )
    values = {name: _value(name, value) for name, value in given.items()}
    return Call(sql.SQL(query(name)).format(arguments=arguments), values, read)


def _options(name: str, options: Mapping[str, Any], kind: type[SimilarOptions]) -> dict[str, Any]:
    """Returns the options that were given as the function takes them. TypeError for others than those of a kind."""
    if unknown := sorted(options.keys() - kind.__annotations__.keys()):
        raise TypeError(f"{name}() has no argument {unknown[0]!r}; there are {', '.join(kind.__annotations__)}.")
    rare = {name: value for name, value in options.items() if _OPTIONS[name][1].is_rare}
    given = {name: value for name, value in options.items() if name not in rare and name not in NOT_IN_SQL}
    return {**given, "options": rare} if rare else given


def _value(name: str, value: Any) -> Any:
    """Returns the value as Postgres takes it. SearchError for one that it cannot be told."""
    if value is None and name != "key":
        return None
    if _TYPES[name] == Mapping[str, Any]:
        return _as_json(name, value)
    if name == "embedding":
        return f"[{','.join(map(str, map(float, value)))}]"
    if _TYPES[name] == Sequence[str]:
        return [_checked(f"member of {name}", member) for member in value]
    return _checked(name, value)


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, str):
        check_text(name, value)
    if isinstance(value, int) and not -_INT4 <= value < _INT4:
        hint = f"{page('reference/sql.md')} lists the ranges."
        raise SearchError(f"{name} is out of range.", hint, "22003", refused=True)
    return value


def _as_json(name: str, value: Any) -> str:
    """Returns a value as JSON that Postgres takes. SearchError, with its `name`, for any other."""
    try:
        written = json.dumps(value, default=str, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError, TypeError) as error:
        raise SearchError(
            f"The {name} cannot be written as JSON.", "Give text, numbers, lists, dicts.", "22023", refused=True
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
            refused=True,
        )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pipelines(rows: list[Row]) -> list[Pipeline]:
    return [
        Pipeline(
            name=row["pipeline"],
            columns={column["name"]: column["type"] for column in row["columns"]},
            **{name: row[name] for name in Pipeline.__slots__ if name in row and name != "columns"},
        )
        for row in rows
    ]
