"""Voyage's protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgembedd.model.providers.openai import OpenAI
from pgembedd.model.providers.protocol import Kind, Limits, ProviderAnswer


class Voyage(OpenAI):
    """OpenAI's answers, to requests that say whether texts are searched or search."""

    url = "https://api.voyageai.com"
    limits = Limits(max_inputs=1_000, max_tokens=32_000, max_request_tokens=120_000)

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """`truncation` is false: a text that is too long is refused and not cut silently."""
        shortened = {} if dimensions is None else {"output_dimension": dimensions}
        return {"model": model, "input": list(texts), "input_type": kind, "truncation": False, **shortened}

    def answer(self, body: Any) -> ProviderAnswer:
        """Its usage has one number."""
        found = super().answer(body)
        return ProviderAnswer(found.vectors, int((body.get("usage") or {}).get("total_tokens") or 0))
