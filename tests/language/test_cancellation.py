"""A generation that is closed, cancelled or left ends its request, against a stand-in for Ollama."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from pgembedd import Session
from pgembedd.errors import GenerationCancelledError
from pgembedd.language import LanguageSession
from tests.support.servers.ollama import StandInOllama, line
from tests.support.servers.stand_in import Hang
from tests.support.waiting import PATIENCE_S


def test_closing_a_stream_ends_the_request(session: LanguageSession, ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    with session.run("How?", stream=True) as stream:
        assert next(stream).response == "Open"

    assert ollama.left.wait(PATIENCE_S)
    with pytest.raises(GenerationCancelledError):
        next(stream)


@pytest.mark.parametrize("whose", ["stream", "session"])
def test_another_thread_ends_a_wait(session: LanguageSession, ollama: StandInOllama, whose: str) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    stream = session.run("How?", stream=True)
    next(stream)

    def close_while_it_hangs() -> None:
        assert ollama.hanging.wait(PATIENCE_S)
        (stream if whose == "stream" else session).close()

    closing = threading.Thread(target=close_while_it_hangs)
    closing.start()
    with pytest.raises(GenerationCancelledError, match="cancelled"):
        next(stream)

    assert ollama.left.wait(PATIENCE_S)
    closing.join()


def test_closing_the_session_ends_a_whole_answer(session: LanguageSession, ollama: StandInOllama) -> None:
    ollama.stream(lambda: threading.Thread(target=session.close).start(), Hang())
    with pytest.raises(GenerationCancelledError):
        session.run("How?")

    assert ollama.left.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_stream_that_is_left_ends_its_request(session: LanguageSession, ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    for _ in session.run("How?", stream=True):
        break
    gc.collect()

    assert ollama.left.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_generation_that_is_left_in_an_event_loop_ends_its_request(
    session: LanguageSession, ollama: StandInOllama
) -> None:
    ollama.stream(line(response="Open", done=False), Hang())

    async def left() -> bool:
        async for _ in await session.run_async("How?", stream=True):
            break
        gc.collect()
        return await asyncio.to_thread(ollama.left.wait, PATIENCE_S)

    assert asyncio.run(left())


@pytest.mark.slow
def test_a_session_that_is_dropped_with_its_stream_ends_the_request(ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())
    next(Session("mistral", host=ollama.url).run("How?", stream=True))
    gc.collect()

    assert ollama.left.wait(PATIENCE_S)


def test_a_task_that_is_cancelled_ends_its_request(session: LanguageSession, ollama: StandInOllama) -> None:
    ollama.stream(line(response="Open", done=False), Hang())

    async def cancelled() -> None:
        stream = await session.run_async("How?", stream=True)
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancelled())
    assert ollama.left.wait(PATIENCE_S)
