"""Who asks and goes away again costs the model nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import Request

from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.request_batcher import RequestBatcher
from pgembedd.http.streams.while_connected import while_connected
from pgembedd.model import Session
from pgembedd.model.futures import Embeddings
from tests.support.embedders import Gate, Wrapped


async def gone() -> dict[str, Any]:
    """What an ASGI server says of a client that has left."""
    return {"type": "http.disconnect"}


async def silent() -> dict[str, Any]:
    """What it says of one that waits."""
    await asyncio.Event().wait()
    raise AssertionError


def unread() -> Any:
    """What it says of one that waits, where no route has read the body."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await silent()

    return receive


@pytest.mark.parametrize(
    ("receive", "timeout_s", "status"),
    [(gone, 60.0, 499), (silent, 0.2, 504), (unread(), 0.2, 504), (silent, 0.01, 504)],
)
def test_texts_that_nobody_waits_for_are_not_embedded(
    model: Session, receive: Any, timeout_s: float, status: int
) -> None:
    gate, seen = Gate(), list[str]()

    def hook(texts: Sequence[Any]) -> None:
        seen.extend(texts)
        gate(texts)

    wrapped = Wrapped(model, on_start=hook)
    batcher = RequestBatcher(runners=1)
    first = batcher.ask(wrapped, ["first"])
    assert gate.reached.wait(60)

    async def left() -> Embeddings:
        asked = asyncio.wrap_future(batcher.ask(wrapped, ["left"]))
        return await while_connected(Request({"type": "http"}, receive), asked, timeout_s)

    with pytest.raises(Refusal) as refused:
        asyncio.run(left())
    last = batcher.ask(wrapped, ["last"])
    gate.open()
    first.result(60)
    last.result(60)
    batcher.close()
    assert refused.value.status == status
    assert seen == ["first", "last"]
