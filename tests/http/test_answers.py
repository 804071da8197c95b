"""Answers over HTTP: asked with the rights of a token, watched by many, and a chat model of the `openai` client."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.http.test_search import SECRET, signed
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.page import make_library
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.sql import column, rows, value
from tests.support.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    import openai

SEARCHES = "a-token-that-only-searches"
QUESTION = "How do I get a new password?"
SENTENCES = ["Open Settings, ", "then Reset [1]."]


@dataclass
class Asked:
    """A service, its database, and what a worker would write."""

    client: httpx.Client
    database: Database

    def headers(self, user: str | None) -> dict[str, str]:
        """Those of a user of the application, None for the operator's token."""
        return {"authorization": f"Bearer {TOKEN if user is None else signed(sub=user)}"}

    def newest(self) -> UUID:
        """The id of the last question; zeros before the first."""
        with self.database.connect() as connection:
            return next(iter(column(connection, "select id from pgembedd.answer order by asked_at desc")), UUID(int=0))

    def tell(self, answer: UUID, event: str, **data: Any) -> None:
        """An event as the worker writes it."""
        with self.database.connect() as connection:
            told = "select pgembedd.write_answers(array[%s], array[1], array[%s], array[%s]::jsonb[])"
            assert rows(connection, told, answer, event, json.dumps(data)) == [(answer,)]

    def claim(self, answer: UUID) -> None:
        """Takes the question as a worker does."""
        with self.database.connect() as connection:
            eventually(lambda: (answer,) in rows(connection, "select id from pgembedd.claim_answers(1, 60)"))

    def finish(self, answer: UUID) -> None:
        """What follows the last part of an answer."""
        done = {"status": "complete", "citations": [1], "tokens": {"prompt": 7, "answer": 5}}
        finish = "select pgembedd.finish_answer(%s, 1, 'complete', %s, '{1}', array['done'], array[%s]::jsonb[])"
        with self.database.connect() as connection:
            assert value(connection, finish, answer, "".join(SENTENCES), json.dumps(done))

    def write(self, answer: UUID) -> None:
        """A whole answer."""
        self.claim(answer)
        for sentence in SENTENCES:
            self.tell(answer, "delta", text=sentence)
        self.tell(answer, "citation", n=1)
        self.finish(answer)


@pytest.fixture(scope="module")
def asked(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    """`documents`, which a role may ask about for its users."""
    with temporary_roles(server) as roles, fresh_database(server, template.name) as database:
        role = roles.make("app", "noinherit")
        with database.connect() as connection:
            make_library(connection, model)
            connection.execute(f"select pgembedd.grant_ask('{role}')")
            connection.execute(f"grant select on documents to {role}")
            connection.execute(
                "select pgembedd.configure_answers('documents', url_template => 'https://example.org/{id}',"
                " min_similarity => -1)"
            )
        tokens = tmp_path_factory.mktemp("tokens") / "tokens"
        tokens.write_text(f"{SEARCHES} search\n")
        with serving(
            only(model),
            database.conninfo,
            http_token=TOKEN,
            http_token_file=str(tokens),
            search_url=conninfo_as(database, role),
            http_jwt_secret=SECRET,
        ) as client:
            yield Asked(client, database)


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
                self.ids.append(int(found["id"]))
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
    with opened(asked, "POST", "/answers", json={"pipeline": "documents", "question": QUESTION}) as first:
        status, data = first.event()
        assert (status, data["status"]) == ("status", "searching")
        answer = UUID(data["answer"])
        assert first.response.headers["location"] == f"/answers/{answer}"
        word, shown = first.event()
        assert word == "sources"
        assert [source["n"] for source in shown["sources"]] == list(range(1, len(shown["sources"]) + 1))
        assert shown["sources"][0]["key"] == 1
        with opened(asked, "GET", f"/answers/{answer}") as second:
            assert [second.event()[0] for _ in range(2)] == ["status", "sources"]
            asked.claim(answer)
            assert first.event() == second.event()
            asked.tell(answer, "delta", text=SENTENCES[0])
            assert first.event() == second.event() == ("delta", {"text": SENTENCES[0]})
            with opened(asked, "GET", f"/answers/{answer}?after={second.ids[-1]}") as third:
                asked.tell(answer, "delta", text=SENTENCES[1])
                asked.finish(answer)
                ends = [one.rest() for one in (first, second, third)]
    assert [word for word, _ in ends[0]] == ["delta", "done"]
    assert ends[0] == ends[1] == ends[2]
    with opened(asked, "GET", f"/answers/{answer}") as late:
        everything = late.rest()
    assert [word for word, _ in everything] == ["status", "sources", "status", "delta", "delta", "done"]
    assert late.ids == sorted(set(late.ids))
    with opened(asked, "GET", f"/answers/{answer}", headers={"last-event-id": str(late.ids[-2])}) as last:
        assert last.rest() == everything[-1:]
    for after in (late.ids[-1], 1_000_000):
        over = asked.client.get(f"/answers/{answer}?after={after}", headers=asked.headers("ann"))
        assert (over.status_code, over.content) == (204, b"")

    # Of a user, of another user, of the operator's token, which has no user; of no one.
    strangers: list[tuple[str | None, str, int]] = [
        ("bob", f"/answers/{answer}", 404),
        (None, f"/answers/{answer}", 404),
        ("ann", f"/answers/{uuid4()}", 404),
        ("ann", "/answers/1", 422),
    ]
    for user, path, code in strangers:
        refused = asked.client.get(path, headers=asked.headers(user))
        assert refused.status_code == code, (user, path, refused.text)


def test_what_cannot_be_asked(asked: Asked) -> None:
    question = {"pipeline": "documents", "question": QUESTION}
    no_scope = {"authorization": f"Bearer {SEARCHES}"}
    assert asked.client.post("/answers", json=question, headers=no_scope).status_code == 403
    for body, status in [
        (question | {"pipeline": "nothing"}, 422),
        (question | {"k": 0}, 422),
        (question | {"question": "x\0"}, 422),
        (question | {"thread": "1"}, 422),
        ({"question": QUESTION}, 422),
        (question | {"filter": {"no such column": 1}}, 422),
        (question | {"question": "word " * 300_000}, 413),
    ]:
        refused = asked.client.post("/answers", json=body, headers=asked.headers("ann"))
        assert refused.status_code == status, (body, refused.text)
        assert refused.json()["message"].endswith("."), refused.text


@pytest.fixture
def chat(asked: Asked) -> Iterator[openai.OpenAI]:
    """The real client, as an application of ann's has it."""
    import openai

    key = signed(sub="ann")
    with openai.OpenAI(base_url=f"{asked.client.base_url}/v1", api_key=key, max_retries=0) as client:
        yield client


def while_answering(asked: Asked, work: Callable[[], Any]) -> Any:
    """Returns the result of a call; its answer is written as soon as it is asked for."""
    with asked.database.connect() as connection:
        before = {id_ for (id_,) in rows(connection, "select id from pgembedd.answer")}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(work)

            def fresh() -> list[UUID]:
                return [id_ for (id_,) in rows(connection, "select id from pgembedd.answer") if id_ not in before]

            eventually(lambda: bool(fresh()) or waiting.done())
            for answer in fresh():
                asked.write(answer)
            return waiting.result(PATIENCE_S)


def test_a_pipeline_is_a_chat_model_of_openais_client(asked: Asked, chat: openai.OpenAI) -> None:
    assert "table:documents" in [model.id for model in chat.models.list()]
    assert chat.models.retrieve("table:documents").owned_by == "pgembedd-table"
    said: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
    text = "".join(SENTENCES)

    def whole() -> Any:
        return chat.chat.completions.create(model="table:documents", messages=said, temperature=0.5)

    completion = while_answering(asked, whole)
    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == (text, "stop")
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (7, 12)
    (annotation,) = choice.message.annotations
    cited = annotation.url_citation
    assert (annotation.type, text[cited.start_index : cited.end_index]) == ("url_citation", "[1]")
    assert cited.url.startswith("https://example.org/")

    def streamed() -> list[Any]:
        asking: Any = {"stream": True, "stream_options": {"include_usage": True}}
        more = [*said, {"role": "assistant", "content": text}, {"role": "user", "content": "And [how] long?"}]
        with chat.chat.completions.create(model="table:documents", messages=more, **asking) as stream:
            return list(stream)

    chunks = while_answering(asked, streamed)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == text
    assert [one for delta in deltas for one in getattr(delta, "annotations", None) or []] == [
        json.loads(annotation.model_dump_json())
    ]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 5
    with asked.database.connect() as connection:
        threads = rows(connection, "select question, thread from pgembedd.answer order by asked_at desc limit 2")
    assert threads[0][1] == threads[1][1]
    assert [question for question, _ in threads] == ["And [how] long?", QUESTION]


@pytest.mark.parametrize("stream", [False, True])
def test_chores_of_chat_programs_ask_no_model(asked: Asked, chat: openai.OpenAI, stream: bool) -> None:
    history = f"<chat_history>\nUSER: {QUESTION}\nASSISTANT: Open Settings.\n</chat_history>"
    with asked.database.connect() as connection:
        before = value(connection, "select count(*) from pgembedd.answer")
        for task, reply in [
            ('### Task:\nGenerate a title.\nJSON format: { "title": "your title" }\n', {"title": QUESTION}),
            ('### Task:\nGenerate 1-3 broad tags.\nJSON format: { "tags": ["tag1"] }\n', {"tags": []}),
            ('### Task:\nSuggest questions.\nJSON format: { "follow_ups": [] }\n', {"follow_ups": []}),
            ("Provide a concise, 5-word-or-less title for the conversation.", QUESTION),
        ]:
            said: Any = [{"role": "user", "content": QUESTION}, {"role": "user", "content": task + history}]
            made: Any = chat.chat.completions.create(model="table:documents", messages=said, stream=stream)
            text = (
                "".join(chunk.choices[0].delta.content or "" for chunk in made)
                if stream
                else made.choices[0].message.content
            )
            assert (text if isinstance(reply, str) else json.loads(text)) == reply
        assert value(connection, "select count(*) from pgembedd.answer") == before


def test_what_a_chat_is_told_instead_of_an_answer(asked: Asked, chat: openai.OpenAI) -> None:
    import openai

    for model, said in [("table:nothing", [{"role": "user", "content": "x"}]), ("table:documents", [])]:
        with pytest.raises(openai.BadRequestError if not said else openai.APIStatusError):
            chat.chat.completions.create(model=model, messages=said)  # type: ignore[arg-type]
    with pytest.raises(openai.PermissionDeniedError, match="generate"):
        chat.chat.completions.create(model="llama", messages=[{"role": "user", "content": "x"}])
    failed = threading.Event()

    def ask() -> Any:
        said: Any = [{"role": "user", "content": f"{QUESTION} {uuid4()}"}]
        with pytest.raises(openai.APIError, match="The model's server went away"):
            chat.chat.completions.create(model="table:documents", messages=said)
        failed.set()

    with ThreadPoolExecutor(1) as pool:
        before = asked.newest()
        waiting = pool.submit(ask)
        eventually(lambda: asked.newest() != before)
        asked.claim(asked.newest())
        with asked.database.connect() as connection:
            fail = "select pgembedd.fail_answer(%s, 1, 'The model''s server went away.', true)"
            assert value(connection, fail, asked.newest()) == "dead"
        waiting.result(PATIENCE_S)
    assert failed.is_set()


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
