"""A pipeline is a chat model of the `openai` client."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgembedd.answers.generation import CUT, UNCITED
from pgembedd.database.answers import AnswerEvent
from pgembedd.http.generation.table_chat import Reply
from pgembedd.model import Session
from tests.http.asked import QUESTION, SENTENCES, Asked, asked, while_answering
from tests.support.embedders import MODEL, only
from tests.support.http import TOKEN, serving
from tests.support.roles import conninfo_as
from tests.support.servers.ollama import StandInOllama
from tests.support.servers.stand_in import json_answer
from tests.support.sql import column, rows, value
from tests.support.user_tokens import signed
from tests.support.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    import openai

__all__ = ["asked"]


@pytest.fixture
def chat(asked: Asked) -> Iterator[openai.OpenAI]:
    """The real client, as an application of ann's has it."""
    import openai

    key = signed(sub="ann")
    with openai.OpenAI(base_url=f"{asked.client.base_url}/v1", api_key=key, max_retries=0) as client:
        yield client


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
        threads = rows(
            connection, "select question, thread from pgembedd_internal.answer order by asked_at desc limit 2"
        )
    assert threads[0][1] == threads[1][1]
    assert [question for question, _ in threads] == ["And [how] long?", QUESTION]


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("repetition", "stop"),
        (None, "stop"),
        ("unheard of", "stop"),
    ],
)
def test_why_a_reply_ends_is_told_in_openais_words(cut: str | None, reason: str) -> None:
    reply = Reply("table:documents", "1")
    assert reply.finish_reason == "stop"
    assert reply.add(AnswerEvent("delta", {"text": "So"}, 3)) == "So"
    assert reply.add(AnswerEvent("status", {"status": "complete", "attempt": 2}, 4)) == ""
    assert reply.add(AnswerEvent("done", {"status": "complete", "cut": cut}, 5)) == ""
    assert reply.finish_reason == reason
    assert reply.whole()["choices"][0]["finish_reason"] == reason
    assert reply.whole()["choices"][0]["message"]["content"] == "So"


@pytest.mark.parametrize(
    ("cut", "added"),
    [
        (None, f" ({UNCITED})"),
        ("length", f" ({UNCITED})"),
        ("content_filter", f" ({UNCITED})"),
        ("repetition", f" ({CUT['repetition']} {UNCITED})"),
    ],
)
def test_a_reply_has_the_notes_that_openais_reasons_to_end_do_not_tell(cut: str | None, added: str) -> None:
    reply = Reply("table:documents", "1")
    reply.add(AnswerEvent("delta", {"text": "So"}, 3))
    notes = [*([CUT[cut]] if cut else []), UNCITED]
    reply.add(AnswerEvent("done", {"status": "complete", "cut": cut, "notes": notes}, 4))
    assert reply.whole()["choices"][0]["message"]["content"].replace("\n\n", " ") == f"So{added}"


def test_each_number_of_a_citation_is_annotated() -> None:
    source = {"title": "One", "url": "https://example.org/1"}
    reply = Reply("table:documents", "1", sources=[{**source, "n": 1}, {**source, "n": 2, "title": None}])
    reply.add(AnswerEvent("delta", {"text": "Open Settings [1, 2, 3]."}, 3))
    cited = [each["url_citation"] for each in reply.annotations()]
    assert [each["title"] for each in cited] == ["One", "https://example.org/1"]
    assert {reply.text[each["start_index"] : each["end_index"]] for each in cited} == {"[1, 2, 3]"}


@pytest.mark.parametrize("stream", [False, True])
def test_chores_of_chat_programs_ask_no_model(asked: Asked, chat: openai.OpenAI, stream: bool) -> None:
    history = f"<chat_history>\nUSER: {QUESTION}\nASSISTANT: Open Settings.\n</chat_history>"
    with asked.database.connect() as connection:
        before = value(connection, "select count(*) from pgembedd_internal.answer")
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
        assert value(connection, "select count(*) from pgembedd_internal.answer") == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["documents", "table:nothing", "llama", MODEL])
def test_a_name_that_is_no_chat_model_gets_the_names_that_are_listed(
    asked: Asked, chat: openai.OpenAI, name: str, stream: bool
) -> None:
    import openai

    for key, names in [(signed(sub="ann"), [["table:documents"]]), (TOKEN, [[MODEL], ["table:documents"]])]:
        client = chat.with_options(api_key=key)
        assert [[one.id] for one in client.models.list()] == names
        with pytest.raises(openai.NotFoundError) as refused:
            client.chat.completions.create(model=name, messages=[{"role": "user", "content": "x"}], stream=stream)
        error = refused.value
        assert (error.code, error.type, error.param) == ("model_not_found", "invalid_request_error", "model")
        assert named_in(error) == names
        with pytest.raises(openai.NotFoundError) as refused:
            client.models.retrieve("nothing")
        assert named_in(refused.value) == names


def named_in(error: openai.APIStatusError) -> list[list[str]]:
    """The names that a sentence lists, by what they are for."""
    assert isinstance(error.body, dict)
    _, *listed = error.body["message"].removesuffix(".").split("; ")
    return [one.partition(": ")[2].split(", ") for one in listed]


def test_embeddings_name_what_a_token_may_use(asked: Asked, chat: openai.OpenAI) -> None:
    import openai

    client = chat.with_options(api_key=TOKEN)
    for model in ("documents", "table:documents", "text-embedding-3-small"):
        with pytest.raises(openai.NotFoundError) as refused:
            client.embeddings.create(model=model, input="x")
        assert refused.value.code == "model_not_found"
        assert named_in(refused.value) == [[MODEL], ["table:documents"]]


def test_a_table_without_its_prefix_goes_to_no_language_model(
    asked: Asked, model: Session, ollama: StandInOllama
) -> None:
    """Unless the server has a model of that name; a server may take any name, and would answer without the table."""
    import openai

    said: Any = [{"role": "user", "content": "x"}]
    with (
        serving(
            only(model),
            asked.database.conninfo,
            http_token=TOKEN,
            search_url=conninfo_as(asked.database, asked.role),
            language_host=ollama.url,
        ) as service,
        openai.OpenAI(base_url=f"{service.base_url}/v1", api_key=TOKEN, max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError, match=r"for chats: table:documents, mistral\.$"):
            client.chat.completions.create(model="documents", messages=said)
        assert [one.path for one in ollama.received] == ["/v1/models"]
        client.chat.completions.create(model="another", messages=said)
        assert ollama.received[-1].path == "/v1/chat/completions"
        ollama.answer = lambda _: json_answer({"data": [{"id": "documents"}], "choices": [{"message": {}}]})
        client.chat.completions.create(model="documents", messages=said)
        assert ollama.received[-1].path == "/v1/chat/completions"


def test_what_a_chat_is_told_instead_of_an_answer(asked: Asked, chat: openai.OpenAI) -> None:
    import openai

    with pytest.raises(openai.BadRequestError):
        chat.chat.completions.create(model="table:documents", messages=[])
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
            fail = "select pgembedd_internal.fail_answer(%s, 1, 'The model''s server went away.', true)"
            assert value(connection, fail, asked.newest()) == "dead"
        waiting.result(PATIENCE_S)
    assert failed.is_set()


@pytest.mark.parametrize("way", ["streamed chat", "chat", "mcp"])
def test_a_client_that_leaves_stops_its_answer(asked: Asked, way: str) -> None:
    before, stream = asked.newest(), way == "streamed chat"
    path, body = (
        "/v1/chat/completions",
        json.dumps({"model": "table:documents", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}),
    )
    if way == "mcp":
        call = {"name": "ask", "arguments": {"pipeline": "documents", "question": QUESTION}}
        path, body = "/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    head = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", "accept: application/json"]
    head += [f"authorization: Bearer {signed(sub='ann')}", f"content-length: {len(body)}", "", ""]
    with socket.create_connection(("127.0.0.1", asked.client.base_url.port or 0)) as client:
        client.sendall(("\r\n".join(head) + body).encode())
        eventually(lambda: asked.newest() != before)
        answer = asked.newest()
        asked.claim(answer)
        asked.tell(answer, "delta", text=SENTENCES[0])
        if stream:
            eventually(lambda: SENTENCES[0].encode() in client.recv(65536))
    with asked.database.connect() as connection:
        state = "select status, answer from pgembedd_internal.answer where id = %s"
        eventually(lambda: rows(connection, state, answer) == [("stopped", SENTENCES[0])])


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_without_a_worker_is_unavailable(asked: Asked, chat: openai.OpenAI, stream: bool) -> None:
    import openai

    asked.forget_all()
    said: Any = [{"role": "user", "content": f"{QUESTION} {uuid4()}"}]
    with pytest.raises(openai.InternalServerError, match="No worker has taken the question: start a worker") as refused:
        chat.chat.completions.create(model="table:documents", messages=said, stream=stream)
    assert refused.value.status_code == 503
    with asked.database.connect() as connection:  # it will be asked again
        state = "select status from pgembedd_internal.answer where id = %s"
        eventually(lambda: value(connection, state, asked.newest()) == "stopped")


def test_a_chat_goes_on_with_a_new_token(asked: Asked) -> None:
    import openai

    questions = [f"{QUESTION} {uuid4()}", "And then?"]
    for number, expires_in_s in ((1, 300), (2, 600)):
        said: Any = [{"role": "user", "content": one} for one in questions[:number]]
        key = signed(sub="ann", exp=int(time.time()) + expires_in_s)
        with openai.OpenAI(base_url=f"{asked.client.base_url}/v1", api_key=key, max_retries=0) as chat:
            while_answering(asked, partial(chat.chat.completions.create, model="table:documents", messages=said))
    with asked.database.connect() as connection:
        asking = "select question from pgembedd_internal.answer where thread = "
        asking += "(select thread from pgembedd_internal.answer where question = %s) order by asked_at"
        assert column(connection, asking, questions[0]) == questions


def test_chats_that_begin_alike_are_not_mixed(asked: Asked, chat: openai.OpenAI) -> None:
    question = f"{QUESTION} {uuid4()}"

    def say(*questions: str) -> None:
        said: Any = [{"role": "user", "content": one} for one in questions]
        while_answering(asked, lambda: chat.chat.completions.create(model="table:documents", messages=said))

    import openai

    say(question)
    say(question)
    too_long: Any = [{"role": "user", "content": one} for one in (question, "x" * 8001)]
    with pytest.raises(openai.APIStatusError):  # which leaves the thread where it was
        chat.chat.completions.create(model="table:documents", messages=too_long)
    say(question, "I am Yvonne, and was fired.")
    say(question, "How long does it last?")
    with asked.database.connect() as connection:
        asking = "select array_agg(question order by asked_at) from pgembedd_internal.answer where thread in "
        asking += (
            "(select thread from pgembedd_internal.answer where question like %s) group by thread "
            "order by min(asked_at)"
        )
        threads = column(connection, asking, f"{question}%")
    assert threads == [
        [question],
        [question, "I am Yvonne, and was fired."],
        [f"{question}\nHow long does it last?"],
    ]
