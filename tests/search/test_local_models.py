"""The models of a machine that searches, as `pgembedd mcp` has them."""

from __future__ import annotations

from pgembedd.model import Session
from pgembedd.model.vector_cache import VectorCache
from pgembedd.search.hits import Pipeline
from pgembedd.search.local_models import LocalModels
from tests.support.embedders import MODEL, Counted, only

ONE = Pipeline("one", "one", MODEL, None, "cosine", False, ["id"], ["body"], {})


def test_equal_queries_are_embedded_once(model: Session) -> None:
    counted = Counted(model)
    models = LocalModels(only(counted.model), cache=VectorCache(1_000_000))
    vectors = [models.vector(ONE, text) for text in ("a lake", "a river", "a lake")]
    assert vectors[0] == vectors[2] == model.embed(["a lake"], kind="query").vectors[0].tolist()
    assert counted.asked == ["a lake", "a river"]
