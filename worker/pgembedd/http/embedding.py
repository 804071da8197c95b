"""Embeds the texts of a request: the model asked for, limits on the input, and the wait for the vectors."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.middleware.request_metrics import CLIENT_CLOSED_REQUEST
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Text

BYTES_PER_TOKEN = 4
CHECK_DISCONNECT_AFTER_S = 0.1
Kind = Literal["query", "document"]
Result = TypeVar("Result")


async def model_for(service: ServiceContext, model: str | None, pipeline: str | None) -> Embedder:
    """Returns the model of a request; loading it, or asking the database for the pipeline, is done in a thread."""
    if pipeline is None:
        found = service.get_if_loaded(model)
        return found if found is not None else await run_in_threadpool(service.model, model)
    if model is not None:
        raise Refusal(422, "Name a model or a pipeline, not both.", "wrong_shape", param="pipeline")
    return await run_in_threadpool(service.model_of, pipeline)


def check_inputs(service: ServiceContext, embedder: Embedder, texts: list[str]) -> None:
    """Raises Refusal for no texts, blank ones, too many, or too many tokens."""
    http = service.http
    if not texts or any(not text.strip() for text in texts):
        raise Refusal(
            422, "The input is empty: send at least one text, none of them blank.", "empty_input", param="input"
        )
    if len(texts) > http.http_max_inputs:
        raise Refusal(
            413, f"{len(texts)} texts are more than {http.http_max_inputs} (PGEMBEDD_HTTP_MAX_INPUTS).", param="input"
        )
    tokens = estimated_tokens(embedder, texts)
    if tokens > http.http_max_tokens:
        raise Refusal(
            413,
            f"The texts have about {tokens} tokens, more than {http.http_max_tokens} (PGEMBEDD_HTTP_MAX_TOKENS): "
            "send fewer at a time.",
            param="input",
        )


def too_long(number: int, tokens: int, embedder: Embedder) -> str:
    """Returns the sentence for a text that the model would cut."""
    return (
        f"Text {number} has {tokens} tokens, but {embedder.name} reads {embedder.max_tokens}: "
        "shorten it, cut it into chunks, or send truncate: true."
    )


async def vectors_of(
    service: ServiceContext, embedder: Embedder, texts: Sequence[Text], kind: Kind, request: Request
) -> Embeddings:
    """Embeds the texts in the batcher. Refusal 504 after the timeout; the texts of a client that left are dropped."""
    return await wait_for_result(service, service.batcher.ask(embedder, texts, kind=kind), request)


async def wait_for_result(
    service: ServiceContext, asked: Future[Result], request: Request, awaited: str = "vectors"
) -> Result:
    """Returns the future's result. Refusal 504 after the timeout, 499 when the client left; both cancel it.

    `awaited` is the plural noun for it in the refusal's sentence.
    """
    timeout_s = service.http.http_timeout_s
    vectors = asyncio.wrap_future(asked)
    try:
        # The vectors are nearly always there before a check of the client would pay.
        await asyncio.wait([vectors], timeout=min(CHECK_DISCONNECT_AFTER_S, timeout_s))
        if not vectors.done():
            await _wait_while_connected(vectors, request, timeout_s - CHECK_DISCONNECT_AFTER_S)
        if vectors.done():
            return vectors.result()
    finally:
        vectors.cancel()
    raise Refusal(504, f"The {awaited} were not there after {timeout_s:g} s: send fewer texts.")


async def _wait_while_connected(vectors: asyncio.Future[Result], request: Request, timeout_s: float) -> None:
    """Waits for the vectors, at most `timeout_s`. Refusal 499 when the client disconnects before."""
    disconnect: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request))
    waited_for: list[asyncio.Future[Any]] = [vectors, disconnect]
    try:
        await asyncio.wait(waited_for, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        if disconnect.done() and not vectors.done():
            raise Refusal(CLIENT_CLOSED_REQUEST, "The client left before its answer was there.", "client_left")
    finally:
        disconnect.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":  # a GET's body, empty, comes before
        pass


def estimated_tokens(embedder: Embedder, texts: list[str]) -> int:
    """Returns about how many tokens the model reads."""
    bytes_of = (len(text.encode("utf-8", "replace")) for text in texts)
    return sum(min(length // BYTES_PER_TOKEN + 1, embedder.max_tokens) for length in bytes_of)
