"""A search whose first hits are reranked: what is asked of SQL for it, and the hits in their new order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from pgembedd.errors import PgembeddError, SearchError
from pgembedd.model.registry import LoadedModels
from pgembedd.model.reranker import Reranker
from pgembedd.search.calls import SearchOptions
from pgembedd.search.hits import Hit, Hits
from pgembedd.search.rerank import MAX_CANDIDATES, fuse

READ_CHARACTERS = 2_000
"""Of a hit's text for the reranker, which reads 512 tokens of query and text together."""

DEFAULT_K = 10


def widened(options: SearchOptions) -> SearchOptions:
    """Returns the options of a search for the hits as they are asked for, but for all that are reranked."""
    k = options.get("k", DEFAULT_K)
    return cast("SearchOptions", {**options, "k": MAX_CANDIDATES if 1 <= k < MAX_CANDIDATES else k})


def with_texts(options: SearchOptions) -> SearchOptions:
    """Returns the options of a search for the candidates alone, with the text that the reranker reads as snippet."""
    return cast("SearchOptions", {**options, "k": MAX_CANDIDATES, "snippet_length": READ_CHARACTERS, "marks": ["", ""]})


def passages(hits: Sequence[Hit], read: Sequence[Hit]) -> list[str]:
    """Returns the text of each candidate: from `read`, or its own snippet if it is not there any more."""
    texts = {_place(hit): hit.snippet for hit in read}
    return [texts.get(_place(hit)) or hit.snippet or "" for hit in hits[:MAX_CANDIDATES]]


def _place(hit: Hit) -> str:
    return repr((hit.key, hit.chunk_no))


def reordered(hits: Sequence[Hit], scores: Sequence[float], k: int) -> list[Hit]:
    """Returns the best `k` by both orders; `score` is the fused one, `rerank_score` the reranker's."""
    order = fuse(scores, len(hits))[:k]
    return [replace(hits[each.position], score=each.score, rerank_score=each.rerank_score) for each in order]


class Rerankers:
    """The rerankers of a program, loaded when a search asks for them."""

    def __init__(self, load: Any = Reranker) -> None:
        """`load` makes a Reranker of a name."""
        self._models: LoadedModels[Reranker] = LoadedModels(load)

    def rerank(self, name: str, text: str | None, hits: Hits, read: Sequence[Hit], k: int) -> Hits:
        """Returns the best `k` in their new order; waits for the reranker. SearchError."""
        if text is None:
            raise SearchError("A search without words cannot be reranked.", "Give the query beside its vector.")
        try:
            scores = self._models.get(name).score(text, passages(hits, read))
        except PgembeddError as error:
            raise SearchError(str(error)) from error
        return Hits(reordered(hits, scores.tolist(), k), hits.notices)

    def close(self) -> None:
        """Closes them."""
        self._models.close()
