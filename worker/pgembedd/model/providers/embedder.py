"""A provider's model as an Embedder: texts are sent in batches within the provider's limits."""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from pgembedd.errors import (
    ConfigurationError,
    ModelError,
    ModelNotConfiguredError,
    ModelUnavailableError,
    ProviderBusyError,
    ProviderRefusedError,
)
from pgembedd.model.chunk_fitting import ChunkFitter
from pgembedd.model.futures import Embeddings, Kind, Run, RunFutures, Text, distinct, lane_of
from pgembedd.model.in_process import OnRun
from pgembedd.model.pooling import Float32Array, normalize
from pgembedd.model.probes import PROBE_EVERY_S, PROBE_TOKENS, PROBES, differs
from pgembedd.model.providers.batches import BatchClient
from pgembedd.model.providers.client import Client
from pgembedd.model.providers.configured import Provider, split_model
from pgembedd.model.providers.estimate import cut, estimating_tokenizer
from pgembedd.model.providers.protocol import Ledger, Limits, ProviderAnswer, text_hash
from pgembedd.scheduler import Lane, Scheduler
from pgembedd.text.chunker import Chunk
from pgembedd.text.unicode import well_formed

MOST_TOKENS = 10**9
"""That are believed of what a provider says that a request had."""


class ProviderModel:
    """One model of a provider, shared by all threads of the process. Token counts are estimates, on the high side."""

    def __init__(self, name: str, provider: Provider, model: str, on_run: OnRun, ledger: Ledger | None = None) -> None:
        """Asks the provider for the vectors of a few texts of our own. ModelError where it gives none."""
        self._ledger = ledger
        self.name, self._provider, self._model, self._on_run = name, provider, model, on_run
        self.max_tokens = provider.limits.max_tokens
        self._tokenizer = estimating_tokenizer(self.max_tokens)
        self._fitting = ChunkFitter(self._tokenizer, "")
        self._client = Client(provider)
        self._batches = BatchClient(self._client, provider.protocol, provider.name, model)
        # One more than the client sends at a time, so that the next request leaves while an answer is being read.
        self._scheduler = Scheduler(provider.limits.at_once + 1)
        self.dims = 0
        try:
            self.probes = self._probe()
        except ProviderBusyError as error:
            raise ModelError(str(error)) from error
        finally:
            if not hasattr(self, "probes"):
                self.close()
        self.fingerprint = f"{provider.name}:{model}/{self.dims}"

    def start(
        self, texts: Sequence[Text], *, kind: Kind = "document", lane: Lane | None = None
    ) -> RunFutures[Embeddings]:
        """Hands the texts to threads that send them. Equal texts are sent once. ConfigurationError for token ids."""
        unique, positions = distinct(text for text in texts if isinstance(text, str))
        if len(positions) < len(texts):
            raise ConfigurationError(f"{self.name} takes texts and no token ids.")
        read = [cut(self._tokenizer, well_formed(text)) for text in unique]
        tokens, dropped = [total for _, total, _ in read], [over for _, _, over in read]
        sent = [total - over for _, total, over in read]
        started: list[Run] = []
        for batch in plan_batches(sent, self._provider.limits):
            work = partial(self._work, [read[i][0] for i in batch], [sent[i] for i in batch], kind)
            started.append((batch, self._scheduler.submit(lane or lane_of(kind), work)))
        return RunFutures(Embeddings, (self.dims,), started, positions, dropped, tokens)

    @property
    def batches(self) -> BatchClient | None:
        """The batches of its provider; None where none are to be used."""
        return self._batches if self._provider.batches else None

    def send_batch(self, name: str, texts: Sequence[str]) -> str:
        """Sends texts as a batch that has this name of ours; returns the provider's name of it. Raises as `result`."""
        self._check_probes()
        began, named, tokens = time.monotonic(), dict[str, str](), 0
        for text in texts:
            read, total, dropped = cut(self._tokenizer, well_formed(text))
            named[f"{b64encode(text_hash(text)).decode()} {dropped} {total}"] = read
            tokens += total - dropped
        self._take(tokens)
        batch = self._batches.submit(name, named)
        self._on_run("document", len(texts), tokens, 0, time.monotonic() - began)
        return batch

    def batch_entries(self, output: str, texts: int) -> dict[bytes, tuple[bytes, int, int]]:
        """Returns what a batch of so many texts gave: vector, tokens dropped and tokens, by the hash of the text."""
        found = self._batches.output(output, texts, self.dims)
        vectors = self._checked(list(found.values())) if found else ()
        names = [name.split() for name in found]
        return {
            b64decode(digest): (vector.tobytes(), int(dropped), int(tokens))
            for (digest, dropped, tokens), vector in zip(names, vectors, strict=True)
        }

    def run(
        self, text_or_texts: Sequence[str], mean_pool: bool = True, normalize: bool = True, *, kind: Kind = "document"
    ) -> Float32Array:
        """Returns (n, dims) of norm 1 for n texts. ModelError for token vectors, which no provider gives."""
        if not mean_pool or not normalize:
            raise ModelError(f"{self.name} gives one vector of norm 1 a text, and no token vectors.")
        return self.start(text_or_texts, kind=kind).result().vectors

    def split(
        self, text: str, *, tokens: int | None, overlap: int, markdown: bool, before: str = "", after: str = ""
    ) -> list[Chunk]:
        """A document in chunks of so many estimated tokens; see ChunkFitter.split."""
        return self._fitting.split(text, tokens=tokens, overlap=overlap, markdown=markdown, before=before, after=after)

    def close(self) -> None:
        """Ends the threads and the connections; requests that were not sent are cancelled."""
        self._scheduler.shutdown(cancel_futures=True)
        self._client.close()

    def _probe(self) -> Float32Array:
        """(n, dims): the vectors of PROBES now. Sets `dims` the first time."""
        self._probe_at = time.monotonic() + PROBE_EVERY_S
        found: list[Float32Array] = []
        for batch in plan_batches([PROBE_TOKENS] * len(PROBES), self._provider.limits):
            found.append(self._vectors([PROBES[i] for i in batch], [PROBE_TOKENS] * len(batch), "document"))
            self.dims = found[0].shape[1]
        return np.concatenate(found)

    def _work(self, texts: Sequence[str], tokens: Sequence[int], kind: Kind) -> Float32Array:
        """The vectors. ProviderRefusedError, once, where the probe texts have others than an hour ago."""
        self._check_probes()
        return self._vectors(texts, tokens, kind)

    def _check_probes(self) -> None:
        if time.monotonic() >= self._probe_at:
            before, self.probes = self.probes, self._probe()
            if differs(before, self.probes):
                raise ProviderRefusedError(f"{self.name} gives other vectors than before: its provider changed it.")

    def _vectors(self, texts: Sequence[str], tokens: Sequence[int], kind: Kind) -> Float32Array:
        """(n, dims) of norm 1."""
        began = time.monotonic()
        answer = self._ask(texts, sum(tokens), kind)
        vectors = self._checked(answer.vectors)
        self._on_run(kind, len(texts), answer.tokens or sum(tokens), 0, time.monotonic() - began)
        return vectors

    def _checked(self, given: Sequence[Any]) -> Float32Array:
        """(n, dims) of norm 1. ModelError for what is no vector, ProviderRefusedError for one of another length."""
        try:
            vectors = np.asarray(given, np.float32)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{self.name} answered with vectors of different lengths or without numbers.") from error
        if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise ModelError(f"{self.name} answered with something else than one vector a text.")
        if not vectors.any(axis=1).all():
            raise ModelError(f"{self.name} answered with a vector of zeros.")
        if self.dims and vectors.shape[1] != self.dims:
            raise ProviderRefusedError(
                f"{self.name} gave {self.dims} dimensions and now gives {vectors.shape[1]}: its provider changed it."
            )
        return normalize(vectors)

    def _ask(self, texts: Sequence[str], tokens: int, kind: Kind) -> ProviderAnswer:
        """Sends a request that the budget allows. Without an answer no tokens are counted, but the request is."""
        if self._ledger is None:
            return self._client.embed(self._model, texts, kind, self.dims)
        self._take(tokens)
        counted = 0
        try:
            answer = self._client.embed(self._model, texts, kind, self.dims)
            counted = min(max(answer.tokens, 0), MOST_TOKENS) or tokens
        finally:
            if counted != tokens:
                self._ledger.correct(self._provider.name, counted - tokens)
        return answer

    def _take(self, tokens: int) -> None:
        """Counts a request. ProviderRefusedError where the budget is used up."""
        provider, limits = self._provider.name, self._provider.limits
        if self._ledger is not None and not self._ledger.take(
            provider, tokens, limits.tokens_per_day, limits.requests_per_day
        ):
            raise ProviderRefusedError(
                f"The budget of the provider {provider} for today is used up ({_budget(limits)}): it is asked again "
                "after midnight (UTC), or once the budget in its settings is raised."
            )


def _budget(limits: Limits) -> str:
    parts = {"tokens_per_day": limits.tokens_per_day, "requests_per_day": limits.requests_per_day}
    return ", ".join(f"{name} = {limit}" for name, limit in parts.items() if limit is not None)


def plan_batches(tokens: Sequence[int], limits: Limits) -> Iterator[list[int]]:
    """Yields the positions of texts with these tokens, in order, in batches within the limits of a request."""
    batch: list[int] = []
    total = 0
    for position, count in enumerate(tokens):
        if batch and (len(batch) == limits.max_inputs or total + count > limits.max_request_tokens):
            yield batch
            batch, total = [], 0
        batch.append(position)
        total += count
    if batch:
        yield batch


def load(name: str, providers: dict[str, Provider], on_run: OnRun, ledger: Ledger | None = None) -> ProviderModel:
    """Returns the model of a name like `openai:text-embedding-3-small`. ModelError where it cannot be had."""
    provider_name, model = split_model(name) or ("", name)
    provider = providers.get(provider_name)
    if provider is None:
        raise ModelNotConfiguredError(
            f"The provider {provider_name} of {name} is not enabled here: an operator enables it by name, in "
            "PGEMBEDD_PROVIDERS or PGEMBEDD_PROVIDERS_FILE of the worker."
        )
    if provider.limits.has_budget and ledger is None:
        raise ModelUnavailableError(
            f"The provider {provider_name} has a budget a day, which is counted in a database, and here is none to "
            "count in: a worker, a service with a database, `pgembedd verify` and `pgembedd eval` may ask it."
        )
    return ProviderModel(name, provider, model, on_run, ledger)
