"""OpenAI's protocol: its own server, llama.cpp's, vLLM, and every other that is called compatible."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgembedd.model.providers.protocol import Kind, Limits, ProviderAnswer


class OpenAI:
    """`/v1/embeddings`; `/v1` at the end of a URL is not repeated."""

    url, needs_key = "https://api.openai.com", True
    limits = Limits(max_inputs=2_048, max_tokens=8_192)

    def path(self, model: str) -> str:
        """The same for every model."""
        return "/v1/embeddings"

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """There are no kinds of texts."""
        shortened = {} if dimensions is None else {"dimensions": dimensions}
        return {"model": model, "input": list(texts), "encoding_format": "float", **shortened}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of their `index`."""
        items = sorted(body["data"], key=lambda item: int(item["index"]))
        if [item["index"] for item in items] != list(range(len(items))):
            raise ValueError("the vectors of an answer are not numbered from 0")
        usage = body.get("usage") or {}
        return ProviderAnswer([item["embedding"] for item in items], int(usage.get("prompt_tokens") or 0))


class Compatible(OpenAI):
    """The same on a server of the operator's, which may have no key. Its limits are the operator's to raise."""

    url, needs_key = "", False
    limits = Limits(max_inputs=64, max_tokens=512)
