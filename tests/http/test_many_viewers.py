"""Many viewers of one answer: they share what is read, and none waits for what is asked for another."""

from __future__ import annotations

import asyncio
import json
import resource
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from pgembedd.answers import watch
from pgembedd.answers.questions import Questions
from pgembedd.errors import SearchError
from pgembedd.http import answer_viewers
from pgembedd.model import Session
from tests.http.asked import QUESTION, SENTENCES, Asked, asked
from tests.http.test_answers import Watched, opened
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.roles import conninfo_as
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["asked"]

VIEWERS = 200
BODY = {"pipeline": "documents", "question": QUESTION}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often single viewers were asked for, by method."""
    counted: Counter[str] = Counter()
    for name in ("state", "sources"):
        real = getattr(Questions, name)

        def counting(questions: Questions, answer: UUID, real: Any = real, name: str = name) -> Any:
            counted[name] += 1
            return real(questions, answer)

        monkeypatch.setattr(Questions, name, counting)
    for module in (watch, answer_viewers):
        monkeypatch.setattr(module, "LOOK_S", PATIENCE_S)
    return counted


@pytest.mark.slow
def test_more_viewers_than_a_hundred_see_all_of_an_answer(asked: Asked, looks: Counter[str]) -> None:
    url = asked.client.base_url

    async def viewer(answer: UUID, begun: asyncio.Event) -> str:
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**20)
        token = asked.headers(None)["authorization"]
        head = f"GET /api/v1/answers/{answer} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode())
        seen = b""
        while part := await reader.read(10_000):
            seen += part
            if b"event: sources" in seen:
                begun.set()
        writer.close()
        return seen.decode()

    async def together(answer: UUID) -> list[str]:
        begun = [asyncio.Event() for _ in range(VIEWERS)]
        viewing = [asyncio.create_task(viewer(answer, one)) for one in begun]
        await asyncio.gather(*(one.wait() for one in begun))
        await asyncio.to_thread(asked.write, answer)
        return await asyncio.gather(*viewing)

    with opened(asked, "POST", "/api/v1/answers", None, json=BODY) as first:
        answer = UUID(first.event()[1]["answer"])
        seen = asyncio.run(together(answer))
        expected = [word for word, _ in first.rest()]
    assert expected[-1] == "done"
    for one in seen:
        assert [line[7:] for line in one.splitlines() if line.startswith("event: ")][1:] == expected
        assert all(json.dumps({"text": said}, separators=(",", ":")) in one for said in SENTENCES)
    assert looks == {"state": 1, "sources": 1}  # all have one token


@pytest.mark.slow
def test_a_look_that_takes_long_keeps_no_text_back_and_ends_what_is_not_shared(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "LOOK_WAIT_S", 0.01)
    slow, real = threading.Event(), Questions.state
    slow.set()

    def state(questions: Questions, answer: UUID) -> Any:
        assert slow.wait(PATIENCE_S)
        return real(questions, answer)

    monkeypatch.setattr(Questions, "state", state)
    with seen_by_bob(asked) as (answer, bob, unshare):
        unshare()
        slow.clear()
        asked.claim(answer)
        assert bob.event()[1]["status"] == "generating"
        slow.set()
        monkeypatch.setattr(watch, "LOOK_WAIT_S", PATIENCE_S)
        asked.tell(answer, "delta", text=SENTENCES[0])
        assert [word for word, _ in bob.rest()] == ["error"]


def test_nothing_is_shown_while_the_looks_fail(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "LOOK_OF_EACH_S", 0.0)
    monkeypatch.setattr(watch, "LOOK_WAIT_S", PATIENCE_S)
    failing, real = threading.Event(), Questions.state
    failed: list[str] = []

    def state(questions: Questions, answer: UUID) -> Any:
        if failing.is_set() and "bob" in questions.rights:
            failed.append(questions.rights)
            raise SearchError("Too many want the table.", None, "55P03")
        return real(questions, answer)

    monkeypatch.setattr(Questions, "state", state)
    with seen_by_bob(asked) as (answer, bob, unshare):
        failing.set()
        unshare()
        asked.claim(answer)
        asked.tell(answer, "delta", text=SENTENCES[0])
        eventually(lambda: len(failed) > 1)
        failing.clear()
        rest = bob.rest()
        assert [word for word, _ in rest] == ["error"], rest


@contextmanager
def seen_by_bob(asked: Asked) -> Iterator[tuple[UUID, Watched, Callable[[], object]]]:
    """An answer of ann's, what bob sees of it, and what takes her thread from him again; then it ends for her."""
    with opened(asked, "POST", "/api/v1/answers", json=BODY) as first, as_user(asked, "ann") as ann:
        answer = UUID(first.event()[1]["answer"])
        thread = ann.execute("select thread from pgembedd.answers where id = %s", [answer]).fetchall()[0][0]
        ann.execute("select pgembedd.share_thread(%s, %s, 'bob')", [thread, asked.role])
        with opened(asked, "GET", f"/api/v1/answers/{answer}", "bob") as bob:
            assert [bob.event()[0] for _ in range(2)] == ["status", "sources"]
            unshare = "select pgembedd.unshare_thread(%s, %s, 'bob')"
            yield answer, bob, partial(ann.execute, unshare, [thread, asked.role])
        asked.finish(answer)
        assert [word for word, _ in first.rest()][-2:] == ["status", "done"]


@contextmanager
def as_user(asked: Asked, user: str) -> Iterator[psycopg.Connection]:
    """A session of a user of the application."""
    with psycopg.connect(conninfo_as(asked.database, asked.role), autocommit=True) as session:
        session.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps({"sub": user})])
        yield session


@pytest.fixture
def few_files() -> Iterator[int]:
    """The process may open fewer files than it could be allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (800, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_service_allows_itself_the_files_that_its_connections_take(few_files: int, model: Session) -> None:
    with serving(only(model), http_max_connections=450):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (900, few_files)
