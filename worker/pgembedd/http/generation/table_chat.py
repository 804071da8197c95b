"""A pipeline as a chat model: `table:documents` answers the last question of a chat from the rows of its table."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fastapi import Request

from pgembedd.answers.generation import CUT
from pgembedd.answers.progress import UNTAKEN_EVENT
from pgembedd.answers.prompt import CITATION, cited_numbers
from pgembedd.answers.questions import Question
from pgembedd.answers.watch import Viewer
from pgembedd.database.answers import AnswerEvent
from pgembedd.errors import GenerationError, GenerationUnavailableError
from pgembedd.http.answer_viewers import Answers
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.errors.refusals import Refusal, openai_problem, own_refusal
from pgembedd.http.streams.sse import DONE, frame
from pgembedd.http.streams.while_connected import while_connected

PREFIX = "table:"
REMEMBERED_CHATS = 10_000
AGAIN = "\n\n(The answer begins again.)\n\n"


def messages_of(asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns (role, text) of each message; parts that are no text are left out. Refusal 400 for another shape."""
    found = []
    for message in asked["messages"]:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "\n".join(part for part in parts if isinstance(part, str))
        if not isinstance(message, dict) or not isinstance(content or "", str):
            raise Refusal(400, "messages: Each has a role and a content.", "wrong_shape", param="messages")
        found.append((str(message.get("role")), content or ""))
    return found


class Threads:
    """The thread of each chat: clients send no thread, but all that was said, by which a chat is known again."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, UUID] = OrderedDict()

    def take(self, caller: Caller, pipeline: str, questions: list[str]) -> UUID | None:
        """Returns the thread in which these questions were asked and nothing after them; None where none is known.

        A thread is taken once: it goes on with the next question, which another chat that began alike has not asked.
        """
        return self._threads.pop(_chat_key(caller, pipeline, questions), None) if questions else None

    def keep(self, caller: Caller, pipeline: str, questions: list[str], thread: UUID | None) -> None:
        """Remembers the thread of a chat."""
        if thread is not None:
            self._threads[_chat_key(caller, pipeline, questions)] = thread
            while len(self._threads) > REMEMBERED_CHATS:
                self._threads.popitem(last=False)


def _chat_key(caller: Caller, pipeline: str, questions: list[str]) -> str:
    written = json.dumps([*caller.user, pipeline, questions])  # as in SQL, a thread is its user's, with each new token
    return hashlib.sha256(written.encode()).hexdigest()


class TableChat:
    """Chats over the tables of a service."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._threads = answers, Threads()

    async def ask(self, request: Request, caller: Caller, model: str, messages: list[tuple[str, str]]) -> Viewer:
        """Asks the last question of a chat about the table of a model, and waits some seconds for a worker.

        Refusal 400, 499; GenerationUnavailableError without a worker: then the question is stopped; what asking raises.
        """
        questions = [text for role, text in messages if role == "user" and text.strip()]
        if not questions:
            raise Refusal(400, "messages: There is no question of a user.", "wrong_shape", param="messages")
        pipeline, (*earlier, question) = model.removeprefix(PREFIX), questions
        thread = self._threads.take(caller, pipeline, earlier)
        if thread is None and earlier:
            question = f"{earlier[-1]}\n{question}"  # a chat whose beginning this service has not seen
        try:
            viewer = await self._answers.ask_and_watch(caller, Question(pipeline, question, thread=thread))
            try:
                await while_connected(request, viewer.wait_until_taken())
            except BaseException:
                viewer.abandon()
                raise
        except BaseException:
            self._threads.keep(caller, pipeline, earlier, thread)  # it was not asked, and may be asked again
            raise
        self._threads.keep(caller, pipeline, questions, viewer.state.thread)
        return viewer


@dataclass
class Reply:
    """The answer to a chat so far: the text of the last attempt, and the sources it may cite."""

    model: str
    id: str
    text: str = ""
    sources: list[dict[str, Any]] = field(default_factory=list)
    begun: int = 0  # where the last attempt's text begins
    done: dict[str, Any] = field(default_factory=dict)

    def add(self, event: AnswerEvent) -> str:
        """Returns the text that an event adds. GenerationError for an `error`."""
        match event.name:
            case "sources":
                self.sources = event.data["sources"]
            case "status" if event.data["status"] == "generating" and self.text:  # of an attempt after the first
                return self._grow(AGAIN, begins=True)
            case "delta":
                return self._grow(event.data["text"])
            case "done":
                self.done = event.data
                notes = [note for note in event.data.get("notes", []) if note != CUT.get(self.finish_reason)]
                return self._grow(f"\n\n({' '.join(notes)})") if notes else ""
            case "status" if event is UNTAKEN_EVENT:  # no worker takes it, and the client is told no more of it
                raise GenerationUnavailableError(event.data["reason"])
            case "error":
                raise GenerationError(str(event.data.get("message", "The answer failed.")))
        return ""

    def _grow(self, text: str, *, begins: bool = False) -> str:
        self.text += text
        self.begun = len(self.text) if begins else self.begun
        return text

    def annotations(self, origin: int = 0) -> list[dict[str, Any]]:
        """Returns the citations of sources that have an address, where they stand in the text from `origin` on."""
        by_number = {source["n"]: source for source in self.sources if source["url"]}
        found = []
        for match in CITATION.finditer(self.text, self.begun):
            where = {"start_index": match.start() - origin, "end_index": match.end() - origin}
            for source in filter(None, map(by_number.get, cited_numbers(match))):
                cited = {**where, "url": source["url"], "title": source["title"] or source["url"]}
                found.append({"type": "url_citation", "url_citation": cited})
        return found

    @property
    def finish_reason(self) -> str:
        """Why the reply ends, in OpenAI's words."""
        cut = self.done.get("cut")
        return cut if cut in ("length", "content_filter") else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of the prompt and of the answer, as far as the model's server told them."""
        tokens = self.done.get("tokens") or {}
        prompt, completion = tokens.get("prompt") or 0, tokens.get("answer") or 0
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        """Returns a part of a streamed reply."""
        return self._object("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": finish}])

    def usage_chunk(self) -> dict[str, Any]:
        """Returns the part with the usage, which has no choices."""
        return {**self._object("chat.completion.chunk", []), "usage": self.usage}

    def whole(self) -> dict[str, Any]:
        """Returns the reply in one piece."""
        text, cited = self.text[self.begun :], self.annotations(self.begun)
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": cited}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason, "logprobs": None}
        return {**self._object("chat.completion", [choice]), "usage": self.usage}

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        created = int(time.time())
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": created,
            "model": self.model,
            "choices": choices,
        }


async def complete(viewer: Viewer, reply: Reply) -> dict[str, Any]:
    """Returns the whole reply. GenerationError for an answer that failed; one that is not waited for is stopped."""
    try:
        async for event in viewer.events():
            reply.add(event)
    finally:
        viewer.abandon()
    if not reply.done:
        raise Refusal(503, "The service is stopping; try again.", "stopping")
    return reply.whole()


async def parts_of(viewer: Viewer, reply: Reply, *, with_usage: bool) -> AsyncIterator[bytes]:
    """Yields the parts as OpenAI's clients expect them, then `[DONE]`; an error in their shape."""
    try:
        yield frame(reply.chunk({"role": "assistant", "content": ""}))
        async for event in viewer.events():
            if text := reply.add(event):
                yield frame(reply.chunk({"content": text}))
        if annotations := reply.annotations():
            yield frame(reply.chunk({"annotations": annotations}))
        yield frame(reply.chunk({}, reply.finish_reason))
        if with_usage:
            yield frame(reply.usage_chunk())
        yield DONE
    except Exception as error:
        yield frame({"error": openai_problem(own_refusal(error))})
