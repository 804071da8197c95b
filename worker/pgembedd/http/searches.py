"""Searches of the service: as the role of the caller's token, with the service's own models."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from pgembedd.answers.questions import Question
from pgembedd.http.auth.authenticator import require_scope
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.embedding import check_inputs
from pgembedd.http.errors.refusals import Refusal
from pgembedd.mcp.tools import AssistantSearches
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.search.hits import Pipeline

Result = TypeVar("Result")


class ServedModels:
    """The models of a service. Refusal 504 where one takes too long; OverloadedError; ModelError."""

    embeds = True

    def __init__(self, service: ServiceContext) -> None:
        self._service = service

    def vector(self, pipeline: Pipeline, text: str) -> list[float]:
        """Returns the query's vector by the pipeline's model. Refusal 413 for a long text; ModelMismatchError."""
        embedder = self._service.models.get(pipeline.model)
        check_fingerprint(pipeline, embedder.fingerprint)
        check_inputs(self._service, embedder, [text])
        asked = self._service.batcher.ask(embedder.name, [text], kind="query")
        vector: list[float] = self._wait(asked, "The text had no vector").vectors[0].tolist()
        return vector

    def scores(self, reranker: str, query: str, texts: Sequence[str]) -> list[float]:
        """Returns the scores of the texts by the reranker that is served. Refusal 404 for another name."""
        served = self._service.reranker
        asked = served.start(served.get(reranker), query, texts)
        scores: list[float] = self._wait(asked, "The hits were not reranked").scores.tolist()
        return scores

    def _wait(self, asked: Future[Result], sentence: str) -> Result:
        timeout_s = self._service.http.http_timeout_s
        try:
            return asked.result(timeout_s)
        except FutureTimeoutError:
            asked.cancel()
            raise Refusal(504, f"{sentence} after {timeout_s:g} s: try again.") from None


class CallersSearches(AssistantSearches):
    """The searches of one caller of HTTP or MCP. SearchError, Refusal, ModelMismatchError."""

    def __init__(
        self, service: ServiceContext, caller: Caller, models: ServedModels, known: dict[str, Pipeline]
    ) -> None:
        """`known` is of the caller's role."""
        super().__init__(self._in_transaction, models, known)
        self._service, self._caller = service, caller

    def answer(self, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question. Refusal 403 without the scope for it, 429, 503; SearchError."""
        require_scope(self._caller, "answers")
        with self._service.answers.place(self._caller):
            return super().answer(replace(asked, embedding=self.vector(asked.pipeline, asked.question)))

    def _in_transaction(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        with self._service.search_roles.transaction(self._caller) as connection:
            return work(connection)


def searches_of(service: ServiceContext) -> Callable[[Caller], CallersSearches]:
    """Returns a function that returns the searches of a caller."""
    models = ServedModels(service)
    known: dict[str, dict[str, Pipeline]] = {}
    return lambda caller: CallersSearches(service, caller, models, known.setdefault(caller.search_url, {}))


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
