"""Searches of the service: as the role of the caller's token, with the service's own models."""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.embedding import check_inputs
from pgembedd.http.models.request_batcher import RequestBatcher
from pgembedd.http.models.served_reranker import ServedReranker
from pgembedd.language.parts import read_json
from pgembedd.model.registry import ModelRegistry
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.search.hits import Pipeline
from pgembedd.search.run import AsCaller
from pgembedd.settings import HttpSettings

Result = TypeVar("Result")


@dataclass(frozen=True)
class SearchModels:
    """A service's models for searches of `asker`. Refusal 504 where one takes too long; OverloadedError; ModelError."""

    registry: ModelRegistry
    batcher: RequestBatcher
    reranker: ServedReranker
    http: HttpSettings
    asker: Hashable = None
    embeds = True

    def vector(self, pipeline: Pipeline, text: str) -> list[float]:
        """Returns the query's vector by the pipeline's model. Refusal 413 for a long text; ModelMismatchError."""
        embedder = self.registry.get(pipeline.model)
        check_fingerprint(pipeline, embedder.fingerprint)
        check_inputs(self.http, embedder, [text])
        asked = self.batcher.ask(embedder, [text], "query", self.asker)
        vector: list[float] = self._wait(asked, "The text had no vector").vectors[0].tolist()
        return vector

    def scores(self, reranker: str, query: str, texts: Sequence[str]) -> list[float]:
        """Returns the scores of the texts by the reranker that is served. Refusal 404 for another name."""
        asked = self.reranker.start(self.reranker.get(reranker), query, texts)
        scores: list[float] = self._wait(asked, "The hits were not reranked").scores.tolist()
        return scores

    def _wait(self, asked: Future[Result], sentence: str) -> Result:
        timeout_s = self.http.http_timeout_s
        try:
            return asked.result(timeout_s)
        except FutureTimeoutError:
            asked.cancel()
            raise Refusal(504, f"{sentence} after {timeout_s:g} s: try again.") from None


def as_caller(roles: SearchRoles, caller: Caller) -> AsCaller:
    """Returns what runs each work in a transaction with the rights of a caller."""

    def run_as(work: Callable[[psycopg.Connection], Result]) -> Result:
        with roles.transaction(caller) as connection:
            return work(connection)

    return run_as


def parse_filter(text: str) -> dict[str, Any]:
    """Returns the filter; Refusal 422 for text that is no JSON object."""
    parsed = read_json(text)
    if not isinstance(parsed, dict):
        raise Refusal(
            422, 'The filter is no JSON object, as {"year": {"$gte": 2020}} is.', "wrong_shape", param="filter"
        )
    return parsed
