"""Answers over HTTP: asked with the rights of a token, watched by many, by assistants and on the page."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from pgembedd.answers import watch
from pgembedd.answers.questions import Questions
from pgembedd.database import connect
from pgembedd.errors import SearchError, SearchRoleError
from pgembedd.http.auth import search_roles
from pgembedd.http.auth.search_roles import SearchRoles
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.searches import as_caller
from tests.http.asked import QUESTION, SEARCHES, SENTENCES, Asked, asked, while_answering
from tests.support.http import PLAIN, TOKEN
from tests.support.roles import conninfo_as
from tests.support.sql import value
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["asked"]


class Watched:
    """The events of an answer, as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response, self._lines = response, response.iter_lines()
        self.ids: list[int] = []

    def event(self) -> tuple[str, Any]:
        """The next event: its word and its data."""
        found: dict[str, str] = {}
        for line in self._lines:
            name, _, rest = line.partition(": ")
            found[name] = rest
            if not line and "event" in found:
                self.ids += [int(found["id"])] if "id" in found else []
                return found["event"], json.loads(found["data"])
        raise EOFError

    def rest(self) -> list[tuple[str, Any]]:
        """All events until the end."""
        found = []
        try:
            while True:
                found.append(self.event())
        except EOFError:
            return found


@contextmanager
def opened(asked: Asked, method: str, path: str, user: str | None = "ann", **given: Any) -> Iterator[Watched]:
    with asked.client.stream(method, path, headers=asked.headers(user) | given.pop("headers", {}), **given) as response:
        assert response.status_code == 200, response.read()
        yield Watched(response)


def test_an_answer_is_watched_live_later_and_from_an_event_on(asked: Asked) -> None:
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        status, data = first.event()
        assert (status, data["status"]) == ("status", "searching")
        answer = UUID(data["answer"])
        assert first.response.headers["location"] == f"/api/v1/answers/{answer}"
        word, shown = first.event()
        assert word == "sources"
        assert [source["n"] for source in shown["sources"]] == list(range(1, len(shown["sources"]) + 1))
        assert shown["sources"][0]["key"] == 1
        with opened(asked, "GET", f"/api/v1/answers/{answer}") as second:
            assert [second.event()[0] for _ in range(2)] == ["status", "sources"]
            asked.claim(answer)
            assert first.event() == second.event()
            asked.tell(answer, "delta", text=SENTENCES[0])
            assert first.event() == second.event() == ("delta", {"text": SENTENCES[0]})
            with opened(asked, "GET", f"/api/v1/answers/{answer}?after={second.ids[-1]}") as third:
                asked.tell(answer, "delta", text=SENTENCES[1])
                asked.finish(answer)
                ends = [one.rest() for one in (first, second, third)]
    assert [word for word, _ in ends[0]] == ["delta", "status", "done"]
    assert ends[0][1][1]["status"] == "complete"
    assert ends[0] == ends[1] == ends[2]
    with opened(asked, "GET", f"/api/v1/answers/{answer}") as late:
        everything = late.rest()
    assert [word for word, _ in everything] == ["status", "sources", "status", "delta", "delta", "status", "done"]
    assert late.ids == sorted(set(late.ids))
    with opened(asked, "GET", f"/api/v1/answers/{answer}", headers={"last-event-id": str(late.ids[-2])}) as last:
        assert last.rest() == everything[-1:]
    for after in (late.ids[-1], 1_000_000):
        over = asked.client.get(f"/api/v1/answers/{answer}?after={after}", headers=asked.headers("ann"))
        assert (over.status_code, over.content) == (204, b"")

    # Of a user, of another user, of the operator's token, which has no user; of no one.
    strangers: list[tuple[str | None, str, int]] = [
        ("bob", f"/api/v1/answers/{answer}", 404),
        (None, f"/api/v1/answers/{answer}", 404),
        ("ann", f"/api/v1/answers/{uuid4()}", 404),
        ("ann", "/api/v1/answers/1", 422),
    ]
    for user, path, code in strangers:
        refused = asked.client.get(path, headers=asked.headers(user))
        assert refused.status_code == code, (user, path, refused.text)


def test_an_error_of_the_reading_has_no_number_so_that_nothing_is_missed_later(asked: Asked) -> None:
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
        first.event()
        with asked.database.connect() as connection:
            connection.execute(f"revoke select on pgembedd.answer_events from {asked.role}")
            try:
                asked.claim(answer)
                assert first.event()[0] == "error"
            finally:
                connection.execute(f"grant select on pgembedd.answer_events to {asked.role}")
    asked.finish(answer)
    with opened(asked, "GET", f"/api/v1/answers/{answer}?after={first.ids[-1]}") as again:
        assert [word for word, _ in again.rest()] == ["status", "status", "done"]


def test_events_are_read_in_one_message_with_the_rights_and_claims_of_the_caller(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
    url = conninfo_as(asked.database, asked.role)
    for pooled in (False, True):
        monkeypatch.setattr(connect, "changes_sessions", lambda *_, pooled=pooled: pooled)
        with closing(SearchRoles(timeout_s=PATIENCE_S)) as roles:
            for user, seen in [("ann", ["status", "sources"]), ("it's \\ 'bob", []), ("ann", ["status", "sources"])]:
                caller = Caller(frozenset(), url, {"sub": user})
                questions = Questions(as_caller(roles, caller), partial(roles.rows, caller))
                for _ in range(2):  # the second time the session has the claims already
                    found = questions.events({str(answer): 0})
                    assert [event.name for _, event in found] == seen, (pooled, user)
            with pytest.raises(SearchRoleError):
                roles.rows(Caller(frozenset(), asked.database.conninfo), "select 1", {})


def test_a_role_that_came_to_more_rights_is_refused_at_the_next_look(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_roles, "ROLE_LOOK_S", 0.0)
    caller = Caller(frozenset(), conninfo_as(asked.database, asked.role))
    with closing(SearchRoles(timeout_s=PATIENCE_S)) as roles, asked.database.connect() as connection:
        assert roles.rows(caller, "select 'x'", {}) == [("x",)]
        connection.execute(f"alter role {asked.role} createrole")
        try:
            with pytest.raises(SearchRoleError, match="has CREATEROLE"):
                roles.rows(caller, "select 'x'", {})
        finally:
            connection.execute(f"alter role {asked.role} nocreaterole")


def test_a_viewer_with_whom_a_thread_is_not_shared_any_more_sees_no_further_and_keeps_it_from_no_other(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "LOOK_WAIT_S", PATIENCE_S)
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
    with psycopg.connect(conninfo_as(asked.database, asked.role), autocommit=True) as ann:
        ann.execute("select set_config('request.jwt.claims', %s, false)", ['{"sub": "ann"}'])
        thread = ann.execute("select thread from pgembedd.answers where id = %s", [answer]).fetchall()[0][0]
        for user in ("bob", "eve"):
            ann.execute("select pgembedd.share_thread(%s, %s, %s)", [thread, asked.role, user])
        with (
            opened(asked, "GET", f"/api/v1/answers/{answer}", "bob") as bob,
            opened(asked, "GET", f"/api/v1/answers/{answer}", "eve") as eve,
        ):
            assert [each.event()[0] for each in (bob, eve, bob, eve)] == ["status", "status", "sources", "sources"]
            ann.execute("select pgembedd.unshare_thread(%s, %s, 'bob')", [thread, asked.role])
            asked.write(answer)
            assert [word for word, _ in eve.rest()] == ["status", "delta", "delta", "citation", "status", "done"]
            assert bob.rest() == [
                ("error", {"error": "answer_failed", "message": "The answer is not shared with you any more."})
            ]


def test_the_only_viewer_is_told_that_the_answer_is_gone(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "IDLE_LOOK_S", 0.05)
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
        asked.claim(answer)
        assert [first.event()[0] for _ in range(2)] == ["sources", "status"]
        asked.forget_all()
        assert [word for word, _ in first.rest()] == ["error"]


def test_one_viewer_s_lost_right_ends_the_answer_for_no_other(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
    real, lost = Questions.events, threading.Event()

    def read(questions: Questions, after: dict[str, int]) -> Any:
        if "bob" in questions.rights and lost.is_set():
            raise SearchError("permission denied for table answer_events", None, "42501")
        return real(questions, after)

    monkeypatch.setattr(Questions, "events", read)
    with psycopg.connect(conninfo_as(asked.database, asked.role), autocommit=True) as ann:
        ann.execute("select set_config('request.jwt.claims', %s, false)", ['{"sub": "ann"}'])
        thread = ann.execute("select thread from pgembedd.answers where id = %s", [answer]).fetchall()[0][0]
        ann.execute("select pgembedd.share_thread(%s, %s, 'bob')", [thread, asked.role])
    with (
        opened(asked, "GET", f"/api/v1/answers/{answer}", "ann") as first,
        opened(asked, "GET", f"/api/v1/answers/{answer}", "bob") as second,
    ):
        assert [each.event()[0] for each in (first, second)] == ["status", "status"]
        lost.set()
        asked.write(answer)
        assert [word for word, _ in first.rest()][-1] == "done"
        assert "error" not in [word for word, _ in second.rest()]  # the other one reads it for both


def test_an_answer_is_stopped_by_its_asker_while_others_watch(asked: Asked) -> None:
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
        asked.claim(answer)
        asked.tell(answer, "delta", text=SENTENCES[0])
        path = f"/api/v1/answers/{answer}/stop"
        for user, address in [("bob", path), (None, path), ("ann", f"/api/v1/answers/{uuid4()}/stop")]:
            other = asked.client.post(address, headers=asked.headers(user))
            assert (other.status_code, other.json()["error"]) == (404, "answer_not_found")
        no_scope = {"authorization": f"Bearer {SEARCHES}"}
        assert asked.client.post(path, headers=no_scope).status_code == 403
        stopped = asked.client.post(path, headers=asked.headers("ann"))
        assert stopped.json() == {"answer": str(answer), "status": "stopped"}
        told = first.rest()
        assert [word for word, _ in told[-3:]] == ["delta", "status", "done"]
        assert [told[-3], told[-1]] == [
            ("delta", {"text": SENTENCES[0]}),
            ("done", {"status": "stopped", "citations": []}),
        ]
        again = asked.client.post(path, headers=asked.headers("ann"))
        assert (again.status_code, again.json()["status"]) == (200, "stopped")
    with psycopg.connect(conninfo_as(asked.database, asked.role), autocommit=True) as ann:
        ann.execute("select set_config('request.jwt.claims', %s, false)", ['{"sub": "ann"}'])
        thread = ann.execute("select thread from pgembedd.answers where id = %s", [answer]).fetchall()[0][0]
        ann.execute("select pgembedd.share_thread(%s, %s, 'bob')", [thread, asked.role])
    again_asked = {"pipeline": "documents", "question": QUESTION, "thread": str(thread)}
    with opened(asked, "POST", "/api/v1/answers", json=again_asked) as second:
        answer = UUID(second.event()[1]["answer"])
        refused = asked.client.post(f"/api/v1/answers/{answer}/stop", headers=asked.headers("bob"))
        assert (refused.status_code, refused.json()["error"]) == (403, "rights_missing"), refused.text
        asked.write(answer)
        assert second.rest()[-1][1]["status"] == "complete"
    finished = asked.client.post(f"/api/v1/answers/{answer}/stop", headers=asked.headers("ann"))
    assert (finished.status_code, finished.json()["status"]) == (200, "complete")


def test_what_cannot_be_asked(asked: Asked) -> None:
    question = {"pipeline": "documents", "question": QUESTION}
    no_scope = {"authorization": f"Bearer {SEARCHES}"}
    assert asked.client.post("/api/v1/answers", json=question, headers=no_scope).status_code == 403
    for body, status in [
        (question | {"pipeline": "nothing"}, 404),
        (question | {"k": 0}, 422),
        (question | {"question": "x\0"}, 422),
        (question | {"question": "x\ud800"}, 422),
        (question | {"language_model": "\ud800"}, 422),
        (question | {"filter": {"title": "\ud800"}}, 422),
        (question | {"thread": "1"}, 422),
        (question | {"thread": str(uuid4())}, 404),
        ({"question": QUESTION}, 422),
        (question | {"filter": {"no such column": 1}}, 422),
        (question | {"question": "word " * 300_000}, 422),
    ]:
        headers = asked.headers("ann") | {"content-type": "application/json"}
        refused = asked.client.post("/api/v1/answers", content=json.dumps(body), headers=headers)
        assert refused.status_code == status, (body, refused.text)
        assert refused.json()["message"].endswith("."), refused.text


def test_an_assistant_asks(asked: Asked) -> None:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def call() -> Any:
        async with (
            httpx2.AsyncClient(headers=asked.headers("ann"), trust_env=False) as http,
            Client(streamable_http_client(f"{asked.client.base_url}/mcp", http_client=http)) as client,
        ):
            return await client.call_tool("ask", {"pipeline": "documents", "question": QUESTION, "k": 2})

    result = while_answering(asked, lambda: asyncio.run(call()))
    found = json.loads(result.content[0].text)
    assert not result.is_error, found
    assert (found["status"], found["answer"]) == ("complete", "".join(SENTENCES))
    assert [source["n"] for source in found["sources"]] == [1, 2]


def test_the_page_shows_an_answer_while_it_is_made(asked: Asked) -> None:
    plain: Any = {"base_url": asked.client.base_url, "trust_env": False, "verify": PLAIN, "timeout": 60}
    with httpx.Client(auth=("", TOKEN), **plain) as browser:
        assert "<option>documents</option>" in browser.get("/chat").text
        form = {"pipeline": "documents", "question": f"<b>{QUESTION}</b>"}
        foreign = browser.post("/chat", data=form, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        sent = browser.post("/chat", data=form)
        assert sent.status_code == 303
        address = sent.headers["location"]
        answer = UUID(address.removeprefix("/chat/"))
        with browser.stream("GET", address) as one, browser.stream("GET", address) as two:
            parts = [page.iter_text() for page in (one, two)]
            asked.claim(answer)
            asked.tell(answer, "delta", text="Open <Settings>. Then Re")
            asked.tell(answer, "delta", text="set [1")
            asked.tell(answer, "delta", text="]. No [99].")
            shown = ["".join(_until(page, "[99]")) for page in parts]
            asked.finish(answer)
            whole = [text + "".join(rest) for text, rest in zip(shown, parts, strict=True)]
        for text in whole:
            assert "<h2>&lt;b&gt;How do I get" in text
            assert "<p>Open &lt;Settings&gt;.</p></div>" in text
            cited = text.partition("<p>Then Reset ")[2].partition("</div>")[0]
            assert cited.startswith('<a class="cite" href="#source-1">[1]</a>.</p><aside')
            assert 'href="https://example.org/1"' in cited
            assert "<p>No [99].</p></div>" in text
            assert '<li id="source-1" value="1">' in text
            assert text.rstrip().endswith("</html>")
        assert browser.get(f"/chat/{uuid4()}").status_code == 404
        thread = {"thread": _field(whole[0], "thread"), "pipeline": "documents", "question": ""}
        assert "The question is empty." in browser.post("/chat", data=thread).text
        later = browser.post("/chat", data=thread | {"question": QUESTION}).headers["location"]
        asked.claim(UUID(later.removeprefix("/chat/")))
        asked.finish(UUID(later.removeprefix("/chat/")))
        turn = browser.get(later).text.partition('<section class="turn"')[2].partition("</section>")[0]
        assert f'<a href="{address}">&lt;b&gt;{QUESTION}' in turn
        assert "".join(SENTENCES) in turn


def test_a_question_that_no_worker_takes_says_so_and_stays_queued(asked: Asked) -> None:
    sentence = (
        "No worker has taken the question. It stays queued; start a worker with a language model (`pgembedd run` with "
        "PGEMBEDD_LANGUAGE_HOST)."
    )
    asked.forget_all()
    with opened(asked, "POST", "/api/v1/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        answer = UUID(first.event()[1]["answer"])
        first.event()
        word, data = first.event()
        assert (word, data["status"], data["reason"]) == ("status", "queued", sentence)
        assert len(first.ids) == 2  # it has no number, so that nothing is missed later
        plain: Any = {"base_url": asked.client.base_url, "trust_env": False, "verify": PLAIN, "timeout": 60}
        with httpx.Client(auth=("", TOKEN), **plain) as browser:
            form = {"pipeline": "documents", "question": QUESTION}
            address = browser.post("/chat", data=form).headers["location"]
            with browser.stream("GET", address) as page:
                assert "It stays queued;" in "".join(_until(page.iter_text(), "No worker has taken"))
            browser.post(f"{address}/stop")
        asked.write(answer)
        assert [word for word, _ in first.rest()] == ["status", "delta", "delta", "citation", "status", "done"]


def test_a_busy_worker_is_waited_for(asked: Asked) -> None:
    asked.forget_all()
    question = {"pipeline": "documents", "question": QUESTION}
    with (
        opened(asked, "POST", "/api/v1/answers", json=question) as busy,
        opened(asked, "POST", "/api/v1/answers", json=question) as waits,
    ):
        claimed, waiting = (UUID(each.event()[1]["answer"]) for each in (busy, waits))
        asked.claim(claimed)
        with asked.database.connect() as connection:
            connection.execute("update pgembedd_internal.answer set due_at = '2000-01-01' where id = %s", [waiting])
            untaken = "select pgembedd_internal._is_untaken(%s)"
            assert value(connection, untaken, waiting) is False
            asked.finish(claimed)
            assert value(connection, untaken, waiting) is False
            connection.execute(
                "update pgembedd_internal.answer set finished_at = '2000-01-01' where id = %s", [claimed]
            )
            assert value(connection, untaken, waiting) is True
        asked.write(waiting)


def test_the_page_stops_an_answer(asked: Asked) -> None:
    plain: Any = {"base_url": asked.client.base_url, "trust_env": False, "verify": PLAIN, "timeout": 60}
    with httpx.Client(auth=("", TOKEN), **plain) as browser:
        address = browser.post("/chat", data={"pipeline": "documents", "question": QUESTION}).headers["location"]
        answer = UUID(address.removeprefix("/chat/"))
        with browser.stream("GET", address) as page:
            parts = page.iter_text()
            asked.claim(answer)
            asked.tell(answer, "delta", text=SENTENCES[0])
            shown = "".join(_until(parts, "Open"))
            button = f'<form class="stop" method="post" action="{address}/stop"><button>Stop</button></form>'
            assert button in shown
            foreign = browser.post(f"{address}/stop", headers={"origin": "https://evil.example"})
            assert foreign.status_code == 403
            stopped = browser.post(f"{address}/stop")
            assert (stopped.status_code, stopped.headers["location"]) == (303, address)
            rest = "".join(parts)
        assert '<p class="note" role="status">The answer was stopped.</p><span class="over" hidden></span>' in rest
        after = browser.get(address).text
        assert "Open Settings," in after
        assert 'class="stop"' not in after


@pytest.mark.slow
def test_two_browsers_watch_one_answer(asked: Asked) -> None:
    from playwright.sync_api import expect

    from tests.support.browser import running_browser

    expect.set_options(timeout=PATIENCE_S * 1000)
    with running_browser() as browser:
        first, second = (
            browser.new_context(http_credentials={"username": "", "password": TOKEN}).new_page() for _ in range(2)
        )
        first.goto(f"{str(asked.client.base_url).rstrip('/')}/chat")
        before = asked.newest()
        first.get_by_label("Question").fill(QUESTION)
        first.get_by_role("button", name="Ask").click(no_wait_after=True)
        eventually(lambda: asked.newest() != before)
        answer = asked.newest()
        asked.claim(answer)
        asked.tell(answer, "delta", text="Open Settings [1]. ")
        expect(first.get_by_role("region", name="Answer")).to_contain_text("Open Settings [1].")
        second.goto(first.url, wait_until="commit")
        expect(second.get_by_role("region", name="Answer")).to_contain_text("Open Settings [1].")
        asked.tell(answer, "delta", text="Then Reset.")
        for page in (first, second):
            expect(page.get_by_role("region", name="Answer")).to_contain_text("Then Reset")
            expect(page.locator(".sentence").first.locator("aside")).to_contain_text("[1]")
        asked.finish(answer)
        for page in (first, second):
            expect(page.get_by_role("heading", name="Sources")).to_be_visible()
            page.get_by_role("link", name="[1]").first.click()
            assert page.url.endswith("#source-1")
            expect(page.get_by_label("Another question")).to_be_visible()


def _until(parts: Iterator[str], text: str) -> Iterator[str]:
    """What comes until that text is there."""
    seen = ""
    while text not in seen:
        seen += (part := next(parts))
        yield part


def _field(page: str, name: str) -> str:
    """The value of a hidden field."""
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]
