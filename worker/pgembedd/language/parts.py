"""The objects that a language model's server sends: lines of JSON (Ollama), or server-sent events (OpenAI)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pgembedd.errors import GenerationError
from pgembedd.settings.servers import error_excerpt
from pgembedd.text.unicode import well_formed

DONE = "[DONE]"


class GenerationPart(dict[str, Any]):
    """One whole object as the server sent it: a part of a streamed answer, or an answer that was not streamed."""

    @property
    def response(self) -> str:
        """The text: Ollama's `response` or `message.content`, OpenAI's delta or message; "" where there is none."""
        choice = self._choice()
        for found in (
            self.get("response"),
            _member(self.get("message"), "content"),
            _member(choice.get("delta"), "content"),
            _member(choice.get("message"), "content"),
            choice.get("text"),
        ):
            if isinstance(found, str):
                return found
        return ""

    @property
    def done(self) -> bool:
        """True for the object that completes the answer. OpenAI's servers may send token counts after it."""
        return self.get("done") is True or self._choice().get("finish_reason") is not None

    @property
    def done_reason(self) -> str | None:
        """`stop`, `length` and the like, on the object that completes the answer."""
        found = self.get("done_reason") or self._choice().get("finish_reason")
        return found if isinstance(found, str) else None

    @property
    def choice_error(self) -> object:
        """The error of the answer itself, which OpenRouter sends in the choice; None where there is none."""
        choice = self._choice()
        return choice.get("error", {} if choice.get("finish_reason") == "error" else None)

    def _choice(self) -> Mapping[str, Any]:
        choices = self.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        return first if isinstance(first, dict) else {}


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


class Lines:
    """Cuts a stream of bytes into lines, without their ends. GenerationError for one that is too long."""

    MAX_BYTES = 16_000_000  # the last line of Ollama's lists the ids of a whole context

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> Iterator[bytes]:
        """Yields the lines that are now complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.MAX_BYTES:
            raise GenerationError("The language model's server sent a line without an end.")
        for line in lines:
            yield line.removesuffix(b"\r")

    def end(self) -> bytes:
        """Returns the last line, which has no end."""
        return self._rest


class NdjsonParser:
    """Ollama's: a JSON object a line, the last one with `done: true`."""

    def __init__(self, key: str | None = None) -> None:
        self.complete, self._key = False, key

    def add(self, line: bytes) -> Iterator[GenerationPart]:
        """Yields the object of a line. GenerationError for one that is none, or reports an error."""
        if line.strip():
            part = parse_object(line, self._key)
            self.complete = part.done
            yield part


class SseParser:
    """OpenAI's: server-sent events with an object each, then `[DONE]`, which some servers leave out."""

    def __init__(self, key: str | None = None) -> None:
        self.complete = False  # an object said that it completes the answer, or [DONE] came
        self._key = key
        self._data: list[bytes] = []

    def add(self, line: bytes) -> Iterator[GenerationPart]:
        """Yields the object of an event that this line ends. GenerationError for one that reports an error."""
        name, _, value = line.partition(b":")
        if name in (b"data", b"error"):  # llama.cpp has sent errors in a field of their own
            self._data.append(value.removeprefix(b" "))
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            if data.strip() == DONE.encode():
                self.complete = True
                return
            part = parse_object(data, self._key)
            self.complete = self.complete or part.done
            yield part


def read_json(data: bytes | str) -> Any:
    """Returns the value; None for what is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def parse_object(data: bytes, key: str | None = None) -> GenerationPart:
    """Returns the object. GenerationError, without `key`, for anything else, and for one that reports an error."""
    value = read_json(data)
    if not isinstance(value, dict):
        raise GenerationError("The language model's server sent something that is no JSON object.")
    part = GenerationPart(value)
    if (error := value.get("error", part.choice_error)) is not None:
        raise GenerationError(f"The language model's server broke off: {sentence_of(error, key)}")
    return part


def parse_answer(body: bytes, key: str | None = None) -> GenerationPart:
    """Returns the object of an answer that was not streamed.

    A server that streams its lines all the same has their texts joined in the last one, as `response`.
    """
    try:
        part = parse_object(body, key)
    except GenerationError:
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        parts = [parse_object(line, key) for line in lines]
        if not parts[-1].done:
            raise ended_early() from None
        return GenerationPart({**parts[-1], "response": "".join(part.response for part in parts)})
    if part.get("done") is False:
        raise ended_early()
    return part


def ended_early() -> GenerationError:
    """Returns the error of an answer whose last part is missing."""
    return GenerationError("The language model's server ended the answer before it was complete; ask again.")


def sentence_of(error: object, key: str | None = None) -> str:
    """Returns what an error object says, without `key`, as one sentence of at most 300 characters."""
    message = error.get("message", error) if isinstance(error, dict) else error
    text = well_formed(error_excerpt(str(message), key)).rstrip(".")
    return f"{text or 'no reason given'}."
