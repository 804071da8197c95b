"""The models of this machine for searches, so that they need no worker: query vectors and scores of rerankers."""

from collections.abc import Callable, Sequence

from pgembedd.errors import ModelNotConfiguredError, ModelUnavailableError, PgembeddError, SearchError
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import LoadedModels, ModelRegistry
from pgembedd.model.reranker import Reranker
from pgembedd.model.vector_cache import VectorCache
from pgembedd.search.fingerprints import check_fingerprint
from pgembedd.search.hits import Pipeline


class LocalModels:
    """Models that are loaded when a search asks for them."""

    def __init__(
        self,
        load: Callable[[str], Embedder] | None = None,
        load_reranker: Callable[[str], Reranker] = Reranker,
        cache: VectorCache | None = None,
    ) -> None:
        """`load` fetches nothing: it raises ModelUnavailableError for a model whose files are not here.

        Without it, no query is embedded here. `cache` holds vectors of queries.
        """
        self.embeds = load is not None
        self._models, self._rerankers = ModelRegistry(load or _elsewhere), LoadedModels(load_reranker)
        self._cache = cache or VectorCache()

    def vector(self, pipeline: Pipeline, text: str) -> list[float] | None:
        """Returns the query's vector; None where the model is not here.

        ModelMismatchError for a model here that is not the one of the pipeline's vectors.
        """
        try:
            embedder = self._models.get(pipeline.model)
        except (ModelNotConfiguredError, ModelUnavailableError):
            return None
        check_fingerprint(pipeline, embedder.fingerprint)
        keys = self._cache.keys(None, embedder, [text], "query")
        vector: list[float] = self._cache.start(embedder, [text], keys, "query", "query").result().vectors[0].tolist()
        return vector

    def scores(self, reranker: str, query: str, texts: Sequence[str]) -> list[float]:
        """Returns the scores of the texts by that reranker; waits for them. SearchError."""
        try:
            found: list[float] = self._rerankers.get(reranker).score(query, texts).tolist()
        except PgembeddError as error:
            raise SearchError(str(error)) from error
        return found

    def close(self) -> None:
        """Closes the models."""
        self._models.close()
        self._rerankers.close()


def _elsewhere(_: str) -> Embedder:
    raise ModelUnavailableError("Queries are embedded elsewhere.")
