"""Searches of the service: as the role of the caller's token, with the service's own model."""

import json
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import psycopg

from pgembedd.errors import ModelMismatchError
from pgembedd.http.auth import require_scope
from pgembedd.http.context import ServiceContext
from pgembedd.http.embedding import check_inputs
from pgembedd.http.error_responses import Refusal
from pgembedd.http.tokens import Caller
from pgembedd.search.calls import SearchOptions, SimilarOptions, pipelines_call, row_call
from pgembedd.search.hits import Hits, Pipeline
from pgembedd.search.local_models import check_fingerprint, check_unchanged
from pgembedd.search.questions import Question
from pgembedd.search.reranked import DEFAULT_K, passages, reordered, widened, with_texts
from pgembedd.search.run import run, search, similar

Result = TypeVar("Result")


class Searcher:
    """Searches for the callers of HTTP and MCP."""

    def __init__(self, service: ServiceContext) -> None:
        self._service = service
        self._known: dict[tuple[str, str], Pipeline] = {}

    def search_reranked(self, caller: Caller, pipeline: str, text: str, options: SearchOptions, rerank: str) -> Hits:
        """Returns the hits in the order fused with the reranker's. Refusal 404, 504; else as `search`."""
        reranking = self._service.reranking
        reranker = reranking.get(rerank)
        hits = self.search(caller, pipeline, text, widened(options))
        read = self.search(caller, pipeline, text, with_texts(options))
        asked = reranking.start(reranker, text, passages(hits, read))
        try:
            scores = asked.result(self._service.http.http_timeout_s).scores
        except FutureTimeoutError:
            asked.cancel()
            timeout_s = self._service.http.http_timeout_s
            raise Refusal(504, f"The hits were not reranked after {timeout_s:g} s: try again.") from None
        return Hits(reordered(hits, scores.tolist(), options.get("k", DEFAULT_K)), hits.notices)

    def search(self, caller: Caller, pipeline: str, text: str, options: SearchOptions) -> Hits:
        """Returns the hits. SearchError for what Postgres refuses; Refusal; ModelMismatchError."""
        where = self._known.get((caller.search_url, pipeline))
        if where is not None:
            try:
                return self._search(caller, where, text, options)
            except ModelMismatchError:
                pass  # what is known of the pipeline may be old
        found = self._call(caller, lambda connection: run(connection, pipelines_call(pipeline)))
        if not found:  # Postgres says why
            return self._call(caller, lambda connection: search(connection, pipeline, text, **options))
        self._known[caller.search_url, pipeline] = found[0]
        return self._search(caller, found[0], text, options)

    def _search(self, caller: Caller, where: Pipeline, text: str, options: SearchOptions) -> Hits:
        """Searches; no transaction is open while the model runs."""
        vector = None if options.get("mode") == "text" else query_vector(self._service, where, text)
        return self._call(caller, lambda connection: search_with(connection, where, text, options, vector))

    def similar(self, caller: Caller, pipeline: str, key: Any, options: SimilarOptions) -> Hits:
        """Returns the rows like the one of that key. SearchError, Refusal."""
        return self._call(caller, lambda connection: similar(connection, pipeline, key, **options))

    def row(self, caller: Caller, pipeline: str, key: Any, limit: int | None) -> dict[str, Any] | None:
        """Returns the row of that key, of a large one so many bytes; None without one. SearchError, Refusal."""
        return self._call(caller, lambda connection: run(connection, row_call(pipeline, key, limit)))

    def pipelines(self, caller: Caller) -> list[Pipeline]:
        """Returns what the caller may search. SearchError, Refusal."""
        return self._call(caller, lambda connection: run(connection, pipelines_call()))

    def vector(self, caller: Caller, pipeline: str, text: str) -> list[float] | None:
        """Returns the vector of a question by the pipeline's model; None for a pipeline that SQL refuses."""
        found = self._call(caller, lambda connection: run(connection, pipelines_call(pipeline)))
        return query_vector(self._service, found[0], text) if found else None

    def answer(self, caller: Caller, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question. Refusal 403 without the scope for it, 429, 503; SearchError."""
        require_scope(caller, "answers")
        with self._service.answers.place(caller):
            return self._service.answers.asker.answer(caller, asked)

    def _call(self, caller: Caller, work: Callable[[psycopg.Connection], Result]) -> Result:
        with self._service.search_roles.transaction(caller) as connection:
            return work(connection)


class CallersSearches:
    """The searches of one caller."""

    def __init__(self, searcher: Searcher, caller: Caller) -> None:
        self._searcher, self._caller = searcher, caller

    def pipelines(self) -> list[Pipeline]:
        """Returns what the caller may search."""
        return self._searcher.pipelines(self._caller)

    def find(self, pipeline: str, text: str, options: SearchOptions) -> Hits:
        """Returns the best hits."""
        return self._searcher.search(self._caller, pipeline, text, options)

    def like(self, pipeline: str, key: Any, options: SimilarOptions) -> Hits:
        """Returns the rows most like the row of a key."""
        return self._searcher.similar(self._caller, pipeline, key, options)

    def row(self, pipeline: str, key: Any, limit: int | None = None) -> dict[str, Any] | None:
        """Returns the row of a key, of a large one so many bytes."""
        return self._searcher.row(self._caller, pipeline, key, limit)

    def answer(self, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question. Refusal 403 without the scope for it."""
        return self._searcher.answer(self._caller, asked)


def search_with(
    connection: psycopg.Connection, where: Pipeline, text: str, options: SearchOptions, vector: list[float] | None
) -> Hits:
    """Searches with the vector that the pipeline's model gave, within a transaction. ModelMismatchError."""
    if vector is None:
        return search(connection, where.name, text, **options)
    given: SearchOptions = {**options, "embedding": vector}
    hits = search(connection, where.name, text, **given)
    check_unchanged(connection, where)
    return hits


def query_vector(service: ServiceContext, where: Pipeline, text: str) -> list[float] | None:
    """Returns the text's vector by the pipeline's model; None for a blank text, which SQL refuses.

    Refusal 413 for a long text, 504 after the timeout; ModelMismatchError; ModelError.
    """
    if not text.strip():
        return None
    embedder = service.models.get(where.model)
    check_fingerprint(where, embedder.fingerprint)
    check_inputs(service, embedder, [text])
    asked = service.batcher.ask(embedder.name, [text], kind="query")
    try:
        vector: list[float] = asked.result(service.http.http_timeout_s).vectors[0].tolist()
    except FutureTimeoutError:
        asked.cancel()
        raise Refusal(504, f"The text had no vector after {service.http.http_timeout_s:g} s: try again.") from None
    return vector


def parse_filter(text: str) -> dict[str, Any]:
    """Returns the filter; Refusal 422 for text that is no JSON object."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Refusal(
            422, 'The filter is no JSON object, as {"year": {"$gte": 2020}} is.', "wrong_shape", param="filter"
        )
    return parsed
