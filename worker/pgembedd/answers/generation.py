"""One answer: asks the language model, and tells what viewers are shown of it."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pgembedd.answers.citations import Citations, is_refusal, repeats_itself
from pgembedd.answers.delimiters import Undelimited
from pgembedd.answers.prompt import Prompt, Source, Turn, make_prompt
from pgembedd.database.answers import AnswerEvent, AnswerJob
from pgembedd.errors import ContextTooLongError, GenerationError
from pgembedd.language import Generation, GenerationPart
from pgembedd.language.endpoint import endpoint_of
from pgembedd.language.generation import Bounds
from pgembedd.settings import LanguageSettings
from pgembedd.text.unicode import WellFormedParts, storable

CUTS = 3  # shorter prompts that are tried where the server says that one is too long; it has not begun to answer then
UNCITED = "The answer cites no source."
CUT = {
    "length": "The answer was cut off, as it was too long.",
    "repetition": "The answer was cut off, as it repeated itself.",
    "content_filter": "The answer was cut off by a filter of the language model's server.",
}
CHECK_EVERY = 200  # characters between two looks for a repetition


@dataclass
class Written:
    """An answer as far as it is there."""

    model: str
    prompt: Prompt
    citations: Citations
    text: str = ""
    complete: bool = False
    cut: str | None = None
    """Why it was cut off: `length`, `content_filter` or `repetition`."""
    tokens: dict[str, int] | None = None
    _checked: int = field(default=0, repr=False)
    _parts: WellFormedParts = field(default_factory=WellFormedParts, repr=False)
    _undelimited: Undelimited = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._undelimited = Undelimited(self.prompt.mark)

    def add(self, part: GenerationPart) -> list[AnswerEvent]:
        """Takes a part from the server; returns what viewers are shown."""
        self.tokens = _tokens(part) or self.tokens
        if part.done_reason in ("length", "content_filter"):
            self.cut = part.done_reason
        return self._grow(self._undelimited.add(self._parts.add(part.response)))

    def end(self) -> list[AnswerEvent]:
        """Returns what viewers are shown after the last part."""
        return self._grow(self._undelimited.add(self._parts.end()) + self._undelimited.end())

    def _grow(self, text: str) -> list[AnswerEvent]:
        text = storable(text)
        if not text:
            return []
        self.text += text
        if len(self.text) >= self._checked + CHECK_EVERY:
            self._checked = len(self.text)
            self.cut = "repetition" if repeats_itself(self.text) else self.cut
        cited = [AnswerEvent("citation", {"n": n}) for n in self.citations.add(text)]
        return [AnswerEvent("delta", {"text": text}), *cited]

    def done(self) -> tuple[str, AnswerEvent]:
        """Returns the status of the whole answer, and its last event."""
        status = "refused" if is_refusal(self.text) else "complete"
        data = {
            "status": status,
            "citations": self.citations.valid,
            "invalid": self.citations.invalid,
            "left_out": list(self.prompt.left_out),
            "cut": self.cut,
            "notes": self._notes(status),
            "language_model": self.model,
            "tokens": self.tokens,
        }
        return status, AnswerEvent("done", data)

    def _notes(self, status: str) -> list[str]:
        """Returns sentences for the reader: why it was cut off, and which sources it does not have."""
        notes = [] if self.cut is None else [CUT[self.cut]]
        if self.citations.invalid:
            notes.append(f"It cites sources that there are not: {', '.join(map(str, self.citations.invalid))}.")
        if status == "complete" and not self.citations.valid:
            notes.append(UNCITED)
        return notes


class LanguageModel:
    """The language model of the settings. Used in one event loop."""

    def __init__(self, settings: LanguageSettings) -> None:
        """ConfigurationError for a host that is no URL, and for a key file that cannot be read."""
        endpoint = endpoint_of(settings)
        assert endpoint is not None  # else nothing asks for it
        self._settings, self._endpoint, self._bounds = settings, endpoint, Bounds.of(settings)
        self._context_tokens = settings.language_context_tokens

    async def answer(self, job: AnswerJob, show: Callable[[AnswerEvent], None]) -> Written:
        """Returns the whole answer; `show` gets its parts as they come. GenerationError, also in mid-answer.

        A prompt that the server finds too long is cut by whole sources, and what it reads is remembered.
        """
        budget = self._context_tokens - self._answer_tokens()
        for tries_left in reversed(range(CUTS)):
            written = self._written(job, budget)
            try:
                return await self._generate(written, show)
            except ContextTooLongError as error:
                if written.text or not tries_left:
                    raise
                self._context_tokens = min(self._context_tokens, error.context_tokens)
                # The estimate was short by this factor; a bit less, as other pieces may be denser.
                factor = 0.95 * min(1.0, (self._context_tokens - self._answer_tokens()) / error.prompt_tokens)
                budget = int(written.prompt.tokens * factor)
        raise AssertionError

    def _answer_tokens(self) -> int:
        return min(self._settings.language_max_answer_tokens, self._context_tokens // 2)

    def _written(self, job: AnswerJob, budget: int) -> Written:
        sources = [Source(one["n"], one.get("title"), one["excerpt"]) for one in job.sources]
        history = [Turn(one["question"], one["answer"]) for one in job.history]
        prompt = make_prompt(job.question, sources, history, budget)
        return Written(job.model or self._settings.language_model, prompt, Citations(prompt.sent))

    async def _generate(self, written: Written, show: Callable[[AnswerEvent], None]) -> Written:
        async with aclosing(self._generation(written)) as generation:
            async for part in generation:
                for event in written.add(part):
                    show(event)
                if written.cut == "repetition":
                    return written  # leaving closes the request, and with it the server's work
        for event in written.end():
            show(event)
        if not written.text.strip():
            raise GenerationError("The language model's server ended the answer without a word.")
        return written

    def _generation(self, written: Written) -> Generation:
        prompt: dict[str, Any] = {"messages": list(written.prompt.messages)}
        options = None
        if self._endpoint.mode == "ollama":
            # Without num_ctx it would cut the prompt without a word.
            options = {"num_ctx": self._context_tokens, "num_predict": self._answer_tokens()}
        else:
            prompt |= {"max_tokens": self._answer_tokens(), "stream_options": {"include_usage": True}}
        return Generation(self._endpoint, written.model, prompt, stream=True, bounds=self._bounds, options=options)


def _tokens(part: GenerationPart) -> dict[str, int] | None:
    """Returns the counts of tokens that the server's last object has."""
    found = part.get("usage")
    usage = found if isinstance(found, dict) else {}
    prompt = usage.get("prompt_tokens", part.get("prompt_eval_count"))
    answer = usage.get("completion_tokens", part.get("eval_count"))
    if not isinstance(prompt, int) or not isinstance(answer, int):
        return None
    return {"prompt": prompt, "answer": answer}
