"""The protocol of a provider: paths, bodies, answers and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from typing import Protocol as Interface

Kind = Literal["document", "query"]


@dataclass(frozen=True)
class Limits:
    """The sizes that a provider takes, and how much this process asks of it at a time."""

    max_inputs: int
    """Texts in a request."""
    max_tokens: int
    """Tokens in a text; what is longer is cut, by the estimate of `estimate.py`."""
    max_request_tokens: int = 300_000
    at_once: int = 4
    """Requests with documents in progress. Queries go beside them: at most two more requests in all."""
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


class Ledger(Interface):
    """Counts what is asked of providers, for all processes of a database."""

    def take(self, provider: str, tokens: int, tokens_per_day: int | None, requests_per_day: int | None) -> bool:
        """Counts a request; False where the budget of the day is used up. ProviderBusyError where it is unknown."""
        ...

    def correct(self, provider: str, tokens: int) -> None:
        """Adds to the tokens of today, or takes from them."""
        ...


class Protocol(Interface):
    """The requests and answers of one provider."""

    url: str
    """The URL unless the operator gives one; empty where the operator has to."""
    needs_key: bool
    limits: Limits

    def path(self, model: str) -> str:
        """Returns where texts are posted to, after the URL."""
        ...

    def body(self, model: str, texts: Sequence[str], kind: Kind, dimensions: int | None) -> Mapping[str, Any]:
        """Returns the body of a request."""
        ...

    def answer(self, body: Any) -> ProviderAnswer:
        """Returns what the body of an answer holds. Any of LookupError, TypeError and ValueError for another shape."""
        ...
