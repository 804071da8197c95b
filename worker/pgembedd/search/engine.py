"""The search engine: makes the query's vector, searches as the caller, checks the model's fingerprint, and reranks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, Unpack

import psycopg

from pgembedd.errors import ModelMismatchError, SearchError
from pgembedd.search.calls import Call, explain_call, hits_call, named_call, pipelines_call, search_call
from pgembedd.search.fingerprints import check_unchanged
from pgembedd.search.hits import Hit, Hits, Pipeline, PipelineHit, PipelineHits
from pgembedd.search.options import SearchManyOptions, SearchOptions, SimilarOptions
from pgembedd.search.rerank import candidates, reranked
from pgembedd.search.run import AsCaller, run_with_notices

Result = TypeVar("Result")
Noted = tuple[Result, list[str]]
CallOf = Callable[[str, str | None, SearchOptions], Call[Result]]


class Models(Protocol):
    """The models of this process."""

    @property
    def embeds(self) -> bool:
        """False where no query is embedded here; then a worker does."""

    def vector(self, pipeline: Pipeline, text: str) -> list[float] | None:
        """Returns the query's vector; None where a worker is to embed it. ModelMismatchError."""

    def scores(self, reranker: str, query: str, texts: Sequence[str]) -> list[float]:
        """Returns the relevance of each text for the query by that reranker, higher is more relevant."""


class SearchEngine:
    """Searches of one caller. Every method raises SearchError, and what its ports raise."""

    def __init__(self, run_as: AsCaller, models: Models, known: dict[str, Pipeline] | None = None) -> None:
        """`known` keeps what was looked up of pipelines; it may be shared by the engines of one role."""
        self._run_as, self._models = run_as, models
        self._known = {} if known is None else known

    def search(self, pipeline: str | Pipeline, query: str | None, **options: Unpack[SearchOptions]) -> Hits:
        """Returns the best hits of the query, best first; `query` may be None where `embedding` is given.

        `rerank` names a reranker, which reads the first 20 hits in this process, and whose order is fused with theirs.
        """
        return self._rerank(self._find(pipeline, query, **options), query, **options)

    def _find(self, pipeline: str | Pipeline, query: str | None, **options: Unpack[SearchOptions]) -> Hits:
        """Returns the hits as SQL orders them; where they are to be reranked, all candidates with their passages."""
        asked = options if options.get("rerank") is None else candidates(options)
        return Hits(*self._ask(search_call, pipeline, query, asked))

    def _rerank(self, found: Hits, query: str | None, **options: Unpack[SearchOptions]) -> Hits:
        """Returns the hits of _find() in the order of the reranker, where one is asked for."""
        if (reranker := options.get("rerank")) is None:
            return found
        if query is None:
            raise SearchError("A search without words cannot be reranked.", "Give the query as well as its vector.")
        return reranked(found, options, lambda texts: self._models.scores(reranker, query, texts))

    def search_many(self, pipelines: Sequence[str], query: str, **options: Unpack[SearchManyOptions]) -> PipelineHits:
        """Returns the best hits of up to twenty pipelines in one order, each with the name of its pipeline."""
        if isinstance(pipelines, str):
            raise TypeError(f"search_many() takes a list of pipelines, such as [{pipelines!r}].")
        asked = {"pipelines": pipelines, "query": query}
        return PipelineHits(*self._call(hits_call("search_many", asked, PipelineHit, options, SearchManyOptions)))

    def similar(self, pipeline: str, key: Any, **options: Unpack[SimilarOptions]) -> Hits:
        """Returns the rows that are most like the row of that key, without it."""
        asked = {"pipeline": pipeline, "key": key}
        return Hits(*self._call(hits_call("similar", asked, Hit, options, SimilarOptions)))

    def row(self, pipeline: str, key: Any, bytes: int | None = None) -> dict[str, Any] | None:
        """Returns the columns that the caller may read of the row of that key, without vectors; None for no row.

        With `bytes` a larger row is cut to about so many bytes, as a hit's is.
        """
        asked = {"pipeline": pipeline, "key": key} | ({} if bytes is None else {"bytes": bytes})
        return self._call(named_call("search_row", asked, _row))[0]

    def pipelines(self) -> list[Pipeline]:
        """Returns the pipelines that the caller may search, by name."""
        return self._call(pipelines_call())[0]

    def explain(
        self, pipeline: str | Pipeline, query: str | None, *, with_hits: bool = False, **options: Unpack[SearchOptions]
    ) -> dict[str, Any]:
        """Returns how this search finds what it finds, as explain_search() in SQL."""
        return self._ask(partial(explain_call, with_hits=with_hits), pipeline, query, options)[0]

    def vector(self, pipeline: str | Pipeline, text: str) -> list[float] | None:
        """Returns a text's vector by the pipeline's model; None where a worker is to make it, or SQL refuses it."""
        where = self._look_up(pipeline) if isinstance(pipeline, str) else pipeline
        return None if where is None or not text.strip() else self._models.vector(where, text)

    def _ask(
        self, call_of: CallOf[Result], pipeline: str | Pipeline, query: str | None, options: SearchOptions
    ) -> Noted[Result]:
        """Returns the result of a call with the query's vector, where one is made here, and what Postgres notes."""
        name = pipeline if isinstance(pipeline, str) else pipeline.name
        by_words = options.get("mode") == "text"
        if not self._models.embeds or query is None or not query.strip() or by_words or "embedding" in options:
            return self._call(call_of(name, query, options))
        known = self._known.get(name) if isinstance(pipeline, str) else pipeline
        if known is not None:
            try:
                return self._ask_with_vector(call_of, known, query, options)
            except (ModelMismatchError, SearchError):  # what is known of the pipeline may be old
                if (now := self._look_up(name)) == known:
                    raise
        else:
            now = self._look_up(name)
        return self._ask_with_vector(call_of, now, query, options) if now else self._call(call_of(name, query, options))

    def _ask_with_vector(
        self, call_of: CallOf[Result], where: Pipeline, query: str, options: SearchOptions
    ) -> Noted[Result]:
        """Makes the vector while no transaction is open, and searches with it."""
        if (vector := self._models.vector(where, query)) is None:
            return self._call(call_of(where.name, query, options))
        call = call_of(where.name, query, {**options, "embedding": vector})

        def work(connection: psycopg.Connection) -> Noted[Result]:
            found = run_with_notices(connection, call)
            check_unchanged(connection, where)
            return found

        return self._run_as(work)

    def _look_up(self, name: str) -> Pipeline | None:
        """Returns a pipeline that the caller may search; of any other, Postgres says why."""
        found, _ = self._call(pipelines_call(name))
        if found:
            self._known[name] = found[0]
        return found[0] if found else None

    def _call(self, call: Call[Result]) -> Noted[Result]:
        return self._run_as(lambda connection: run_with_notices(connection, call))


def _row(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    row: dict[str, Any] | None = rows[0]["r"]
    return row
