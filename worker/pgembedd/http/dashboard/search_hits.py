"""The page's search: search() in SQL with the service's own model, connection and rights."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import psycopg

from pgembedd.database.queries import literal, query
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard.queries import connection_for_page
from pgembedd.http.errors.refusals import Refusal
from pgembedd.search.engine import SearchEngine
from pgembedd.search.hits import Hit, Hits, Pipeline, title_of
from pgembedd.search.options import SearchOptions
from pgembedd.search.passages import MARKS

Result = TypeVar("Result")
CHUNKS_PER_ROW = 3


@dataclass(frozen=True)
class FoundRow:
    """A row with its hits, best first: itself, or some of its chunks."""

    key: str
    title: str
    hits: list[Hit]


def page_searches(service: ServiceContext) -> SearchEngine:
    """Returns the searches of the page, as the service's role. SearchError, Refusal, ModelMismatchError."""
    timeout_ms = str(int(service.http.http_timeout_s * 1000))

    def in_transaction(work: Callable[[psycopg.Connection], Result]) -> Result:
        with connection_for_page(service) as connection, connection.transaction():
            connection.execute(query("statement_timeout"), {"milliseconds": timeout_ms})
            return work(connection)

    return SearchEngine(in_transaction, service.search_models)


def chosen(searches: SearchEngine, pipelines: list[Pipeline], name: str) -> Pipeline:
    """Returns the pipeline of that name. SearchError for one that the role may not search, or that is not there."""
    for one in pipelines:
        if one.name == name:
            return one
    searches.search(name, "why not", k=1)  # Postgres says why
    raise Refusal(404, "There is no pipeline of this name.", "pipeline_not_found")


def find(searches: SearchEngine, where: Pipeline, text: str, limit: int, options: SearchOptions) -> Hits:
    """Returns the hits of `limit` rows at most; of a pipeline with chunks each row has several."""
    asked: SearchOptions = {**options, "k": min(limit * CHUNKS_PER_ROW, 1000) if where.chunked else limit}
    asked["snippet_marks"] = MARKS
    if where.chunked:
        asked["per"] = "chunk"
    return searches.search(where, text, **asked)


def grouped(hits: Iterable[Hit], where: Pipeline, limit: int) -> list[FoundRow]:
    """Returns the rows in the order of their best hits, each with its hits; `limit` of them."""
    rows: dict[str, list[Hit]] = {}
    for hit in hits:
        rows.setdefault(hit.key_text, []).append(hit)
    return [FoundRow(key, title_of(found[0], where.text_columns), found) for key, found in islice(rows.items(), limit)]


def marked(snippet: str) -> list[tuple[str, bool]]:
    """Splits a snippet into parts, and tells which of them Postgres marked as words of the query."""
    before, *marked_parts = snippet.split(MARKS[0])
    parts = [(before, False)]
    for part in marked_parts:
        word, _, rest = part.partition(MARKS[1])
        parts += [(word, True), (rest, False)]
    return [part for part in parts if part[0]]


def as_sql(where: Pipeline, text: str, options: SearchOptions, limit: int) -> str:
    """Returns the search as a statement for psql."""
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(given.get("filter"), dict):
        given["filter"] = json.dumps(given["filter"], ensure_ascii=False)
    named = "".join(f", {name} => {literal(value)}" for name, value in {"k": limit, **given}.items())
    return (
        "select key, chunk_index, score, snippet, record\n"
        f"from pgembedd.search({literal(where.name)}, {literal(text)}{named});"
    )
