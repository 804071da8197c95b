"""The thread that reads for all viewers: a process that has no thread to give for a moment loses no viewer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from pgembedd.answers import hub as module
from pgembedd.answers.feed import Feed
from pgembedd.answers.hub import AnswerHub
from pgembedd.answers.questions import Questions
from tests.support.waiting import PATIENCE_S, eventually


def viewer(rights: str, seq: list[int]) -> Questions:
    """One who is told of one event of each answer, which has the number in `seq`."""

    def rows(_statement: str, values: dict[str, str]) -> list[tuple[str, ...]]:
        return [(answer, str(seq[0]), "delta", "{}") for answer in values["answers"].strip("{}").split(",")]

    def unused(_work: Callable[..., Any]) -> Any:
        raise AssertionError

    return Questions(unused, rows, rights)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginnings of the names of threads that cannot be started, each once, as where a server has too many."""
    names: list[str] = []
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        for name in names:
            if thread.name.startswith(name):
                names.remove(name)
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr(module, "POLL_S", 0.0)
    return names


async def told(feed: Feed, seq: int) -> None:
    """Waits for an event."""
    while feed.seq < seq:
        assert await feed.news(feed.changes, PATIENCE_S)


def made() -> AnswerHub:
    return AnswerHub(None, threading.Event(), str, lambda _: False)


def test_a_viewer_for_whom_no_thread_can_be_started_keeps_the_next_from_none(refused: list[str]) -> None:
    async def watch() -> None:
        hub, answer, one = made(), uuid4(), viewer("ann", [1])
        refused.append("answer events")
        with pytest.raises(RuntimeError):
            hub.join(answer, one)
        feed = hub.join(answer, one)
        assert feed.viewers == [one]
        await told(feed, 1)
        hub.leave(feed, one)

    asyncio.run(watch())


def test_readers_that_cannot_be_started_keep_no_viewer_waiting(refused: list[str]) -> None:
    async def watch() -> None:
        hub, seq = made(), [1]
        viewers = [viewer(rights, seq) for rights in ("ann", "bob")]
        refused.append("answer reader")
        feeds = [hub.join(uuid4(), one) for one in viewers]
        await asyncio.to_thread(eventually, lambda: not refused)
        seq[0] = 2
        for feed, one in zip(feeds, viewers, strict=True):
            await told(feed, 2)
            hub.leave(feed, one)

    asyncio.run(watch())


def readers() -> set[threading.Thread]:
    """The threads that read for several viewers at a time."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("answer reader")}


def test_the_threads_that_read_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.0)

    async def watch() -> None:
        hub, others = made(), readers()
        viewers = [viewer(rights, [1]) for rights in ("ann", "bob")]
        feeds = [hub.join(uuid4(), one) for one in viewers]
        await asyncio.to_thread(eventually, lambda: readers() - others)
        for feed, one in zip(feeds, viewers, strict=True):
            hub.leave(feed, one)
        hub.close()
        assert readers() <= others

    asyncio.run(watch())
