"""Waits for results while the client is there that asked for them."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import Request

from pgembedd.http.errors.refusals import CLIENT_CLOSED_REQUEST, Refusal

CHECK_DISCONNECT_AFTER_S = 0.1
Result = TypeVar("Result")


async def while_connected(
    request: Request, work: Awaitable[Result], timeout_s: float | None = None, awaited: str = "vectors"
) -> Result:
    """Returns the result. Refusal 499 when the client disconnects, 504 after the timeout; both cancel the work.

    `awaited` is the plural noun for it in the refusal's sentence.
    """
    working = asyncio.ensure_future(work)
    try:
        # Vectors are nearly always there before a check of the client would pay.
        check_after_s = CHECK_DISCONNECT_AFTER_S if timeout_s is None else min(CHECK_DISCONNECT_AFTER_S, timeout_s)
        await asyncio.wait([working], timeout=check_after_s)
        if not working.done():
            left_s = None if timeout_s is None else timeout_s - check_after_s
            await _wait_while_connected(request, working, left_s)
        if working.done():
            return working.result()
    finally:
        working.cancel()
    raise Refusal(504, f"The {awaited} were not there after {timeout_s:g} s: send fewer texts.")


async def _wait_while_connected(request: Request, working: asyncio.Future[Result], timeout_s: float | None) -> None:
    """Waits for the work, at most `timeout_s`. Refusal 499 when the client disconnects before."""
    disconnect: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request))
    try:
        waited_for: list[asyncio.Future[Any]] = [working, disconnect]
        await asyncio.wait(waited_for, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if disconnect.done() and not working.done():
            raise Refusal(CLIENT_CLOSED_REQUEST, "The client left before its answer was there.", "client_left")
    finally:
        disconnect.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":  # a GET's body, empty, comes before
        pass
