"""Ollama's own protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgembedd.model.providers.protocol import Kind, Limits, ProviderAnswer


class Ollama:
    """`/api/embed`. `truncate` is false, so that a text beyond the model's context is refused and not cut silently."""

    url, needs_key = "http://127.0.0.1:11434", False
    limits = Limits(max_inputs=64, max_tokens=2_048, at_once=2)

    def path(self, model: str) -> str:
        """The same for every model."""
        return "/api/embed"

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """There are no kinds of texts."""
        shortened = {} if dimensions is None else {"dimensions": dimensions}
        return {"model": model, "input": list(texts), "truncate": False, **shortened}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts."""
        return ProviderAnswer(body["embeddings"], int(body.get("prompt_eval_count") or 0))
