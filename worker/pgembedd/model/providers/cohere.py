"""Cohere's protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgembedd.model.providers.protocol import Kind, Limits, ProviderAnswer


class Cohere:
    """`/v2/embed`, which is told whether texts are searched or search."""

    url, needs_key = "https://api.cohere.com", True
    limits = Limits(max_inputs=96, max_tokens=512)

    def path(self, model: str) -> str:
        """The same for every model."""
        return "/v2/embed"

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """`truncate` is NONE: a text that is too long is refused and not cut silently."""
        return {
            "model": model,
            "texts": list(texts),
            "input_type": f"search_{kind}",
            "embedding_types": ["float"],
            "truncate": "NONE",
            **({} if dimensions is None else {"output_dimension": dimensions}),
        }

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts."""
        units = (body.get("meta") or {}).get("billed_units") or {}
        return ProviderAnswer(body["embeddings"]["float"], int(units.get("input_tokens") or 0))
