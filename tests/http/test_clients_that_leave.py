"""Who asks and goes away again costs the model nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from pgembedd.http.embedding import vectors_of
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.request_batcher import RequestBatcher
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.embedders import Gate, Wrapped, only


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
    batcher = RequestBatcher(ModelRegistry(only(wrapped)), runners=1)
    service: Any = SimpleNamespace(batcher=batcher, http=HttpSettings(http_timeout_s=timeout_s))
    first = batcher.ask(wrapped, ["first"])
    assert gate.reached.wait(60)
    with pytest.raises(Refusal) as refused:
        asyncio.run(vectors_of(service, wrapped, ["left"], "query", Request({"type": "http"}, receive)))
    last = batcher.ask(wrapped, ["last"])
    gate.open()
    first.result(60)
    last.result(60)
    batcher.close()
    assert refused.value.status == status
    assert seen == ["first", "last"]
