"""Hugging Face's inference API: the task feature-extraction."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgembedd.model.providers.protocol import Kind, Limits, ProviderAnswer


class HuggingFace:
    """Models of the Hub that give one vector a text, as those of sentence-transformers do."""

    url, needs_key = "https://router.huggingface.co/hf-inference", True
    limits = Limits(max_inputs=32, max_tokens=512)

    def path(self, model: str) -> str:
        """A model is a part of the path."""
        return f"/models/{model}/pipeline/feature-extraction"

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """Its own prompts for queries are the model's matter; vectors are never shortened."""
        return {"inputs": list(texts), "normalize": True}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts; it counts no tokens."""
        return ProviderAnswer(body)
