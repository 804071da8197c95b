"""The protocols of providers: requests, answers and limits.

Each tells its provider to refuse a text that is too long, where it can, and not to cut it silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Protocol

from pgembedd.model.futures import Kind


@dataclass(frozen=True)
class Limits:
    """The sizes that a provider takes, and how much this process asks of it at a time."""

    max_inputs: int
    """Texts in a request."""
    max_tokens: int
    """Tokens in a text; what is longer is cut, by the estimate of `estimate.py`."""
    max_request_tokens: int = 300_000
    at_once: int = 4
    """Requests with documents in progress. Queries do not wait for them: at most two more requests in all."""
    timeout_s: float = 60.0
    tokens_per_day: int | None = None
    requests_per_day: int | None = None
    """The most that all processes of a database ask of it in a day (UTC)."""

    @property
    def has_budget(self) -> bool:
        """True where a day's tokens or requests are limited."""
        return self.tokens_per_day is not None or self.requests_per_day is not None


@dataclass(frozen=True)
class ProviderAnswer:
    """An answer's vectors, and the tokens that the provider counted: 0 where it says nothing of them."""

    vectors: Sequence[Any]
    tokens: int = 0


@dataclass(frozen=True)
class Seen:
    """A batch as its provider tells of it: whether it has ended, and the file of its vectors, if it has one."""

    ended: bool
    status: str
    output: str | None


class Ledger(Protocol):
    """Counts what is asked of providers, for all processes of a database."""

    def take(self, provider: str, tokens: int, tokens_per_day: int | None, requests_per_day: int | None) -> bool:
        """Counts a request; False where the budget of the day is used up. ProviderBusyError where it is unknown."""

    def correct(self, provider: str, tokens: int) -> None:
        """Adds to the tokens of today, or takes from them."""


def text_hash(text: str) -> bytes:
    """Returns the hash by which the vector of a text is found in what a batch gave."""
    return sha256(text.encode(errors="surrogatepass")).digest()


class OpenAI:
    """OpenAI's: its own server, llama.cpp's, vLLM, and every other that is called compatible. The others vary it."""

    url: ClassVar[str] = "https://api.openai.com"
    """The URL unless the operator gives one; empty where the operator has to."""
    needs_key: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(max_inputs=2_048, max_tokens=8_192)
    path: ClassVar[str] = "/v1/embeddings"
    """Where texts are posted to, after the URL; `{model}` stands for the model."""
    dimensions: ClassVar[str] = "dimensions"
    """The member of a request that shortens the vectors; empty where none are shortened."""
    batches: ClassVar[bool] = True
    """Whether it takes batches, as OpenAI does."""
    usage: ClassVar[str] = "prompt_tokens"
    """The member of an answer's usage that counts its tokens."""

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """Returns the body of a request."""
        return {"model": model, "input": texts, "encoding_format": "float"}

    def answer(self, body: Any) -> ProviderAnswer:
        """Returns what the body of an answer holds. Any of LookupError, TypeError and ValueError for another shape."""
        items = sorted(body["data"], key=lambda item: int(item["index"]))
        if [item["index"] for item in items] != list(range(len(items))):
            raise ValueError("the vectors of an answer are not numbered from 0")
        usage = body.get("usage") or {}
        return ProviderAnswer([item["embedding"] for item in items], int(usage.get(self.usage) or 0))


class Compatible(OpenAI):
    """The same on a server of the operator's, which may have no key. Its limits are the operator's to raise."""

    url, needs_key = "", False
    limits = Limits(max_inputs=64, max_tokens=512)


class Voyage(OpenAI):
    """OpenAI's answers, to requests that say whether texts are searched or search."""

    url = "https://api.voyageai.com"
    limits = Limits(max_inputs=1_000, max_tokens=32_000, max_request_tokens=120_000)
    dimensions, usage, batches = "output_dimension", "total_tokens", False

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """`input_type` is the kind."""
        return {"model": model, "input": texts, "input_type": kind, "truncation": False}


class Cohere(OpenAI):
    """`/v2/embed`, which is told whether texts are searched or search."""

    url = "https://api.cohere.com"
    limits = Limits(max_inputs=96, max_tokens=512)
    path, dimensions, batches = "/v2/embed", "output_dimension", False

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """`input_type` is the kind, in its words."""
        types = {"input_type": f"search_{kind}", "embedding_types": ["float"], "truncate": "NONE"}
        return {"model": model, "texts": texts, **types}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts."""
        units = (body.get("meta") or {}).get("billed_units") or {}
        return ProviderAnswer(body["embeddings"]["float"], int(units.get("input_tokens") or 0))


class Ollama(OpenAI):
    """`/api/embed`."""

    url, needs_key = "http://127.0.0.1:11434", False
    limits = Limits(max_inputs=64, max_tokens=2_048, at_once=2)
    path, batches = "/api/embed", False

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """There are no kinds of texts."""
        return {"model": model, "input": texts, "truncate": False}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts."""
        return ProviderAnswer(body["embeddings"], int(body.get("prompt_eval_count") or 0))


class HuggingFace(OpenAI):
    """The task feature-extraction: models of the Hub that give one vector a text, as sentence-transformers' do."""

    url = "https://router.huggingface.co/hf-inference"
    limits = Limits(max_inputs=32, max_tokens=512)
    path, dimensions, batches = "/models/{model}/pipeline/feature-extraction", "", False

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """Its own prompts for queries are the model's matter."""
        return {"inputs": texts, "normalize": True}

    def answer(self, body: Any) -> ProviderAnswer:
        """In the order of the texts; it counts no tokens."""
        return ProviderAnswer(body)


PROTOCOLS = {
    "openai": OpenAI(),
    "ollama": Ollama(),
    "huggingface": HuggingFace(),
    "cohere": Cohere(),
    "voyage": Voyage(),
}
COMPATIBLE = Compatible()
