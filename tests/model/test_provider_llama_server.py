"""A provider that is a real llama.cpp server: `llama-server --embeddings`."""

from __future__ import annotations

import numpy as np
import pytest

from pgembedd.errors import ModelError
from pgembedd.model.providers.configured import enabled_providers
from pgembedd.model.providers.embedder import load
from pgembedd.settings import Settings
from tests.support.servers.llama import CONTEXT_TOKENS, NAME, llama_server

DIMS = 576  # of SmolLM2-135M
TEXTS = ["How do I reset my password?", "How can I change my password?", "Straße, naïve, 東京, 😀"]


@pytest.mark.slow
def test_its_vectors_and_its_refusal_of_a_text_that_is_too_long() -> None:
    counted: list[int] = []
    with llama_server("--embeddings", "--pooling", "mean") as url:
        providers = enabled_providers(Settings(providers=f"house={url}/v1"))
        model = load(f"house:{NAME}", providers, lambda _kind, _texts, tokens, *_: counted.append(tokens))
        try:
            assert (model.dims, model.fingerprint) == (DIMS, f"house:{NAME}/{DIMS}")
            vectors = model.start(TEXTS).result().vectors
            assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
            assert np.allclose(vectors, [model.start([text]).result().vectors[0] for text in TEXTS], atol=1e-2)
            assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
            assert counted[1] > len(TEXTS), "the server's own count, which is no estimate"

            with pytest.raises(ModelError, match="The provider house answered with status"):
                model.start(["🙂🙃" * (CONTEXT_TOKENS // 2)]).result()
            assert np.allclose(model.start(TEXTS).result().vectors, vectors, atol=1e-2), (
                "the next texts have their vectors"
            )
        finally:
            model.close()
