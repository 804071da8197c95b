"""Sends requests on to the language model and to Hugging Face, within the limits of the settings."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pgembedd.errors import GenerationTimeoutError
from pgembedd.http.errors.refusals import Refusal
from pgembedd.language import Endpoint, Generation, Mode
from pgembedd.language.endpoint import Prompt, endpoint_of
from pgembedd.language.failures import answered
from pgembedd.language.generation import Bounds, bounded
from pgembedd.language.huggingface import HuggingFace, parse_models
from pgembedd.language.parts import read_json
from pgembedd.settings import HttpSettings

LIST_TIMEOUT_S = 3.0
MAX_LIST_BYTES = 1_000_000


class LanguageGateway:
    """The servers of the settings, and how many requests to them are in progress. Used in the event loop only."""

    def __init__(self, http: HttpSettings) -> None:
        """ConfigurationError for a host that is no URL, and for a key file that cannot be read."""
        self._http, self._in_progress = http, 0
        self._bounds = Bounds.of(http)
        self._endpoint = endpoint_of(http)
        self._tasks = (
            HuggingFace(http.tasks_host, parse_models(http.tasks_models), self._bounds) if http.tasks_host else None
        )

    @property
    def tasks(self) -> HuggingFace:
        """The server of tasks. Refusal 501 where none is set."""
        if self._tasks is None:
            raise Refusal(501, "No server of tasks is set here (PGEMBEDD_TASKS_HOST).", "no_tasks")
        return self._tasks

    @property
    def has_server(self) -> bool:
        """True where a language model's server is set."""
        return self._endpoint is not None

    def endpoint(self) -> Endpoint:
        """The language model's server. Refusal 501 where none is set."""
        if self._endpoint is None:
            raise Refusal(501, "No language model's server is set here (PGEMBEDD_LANGUAGE_HOST).", "no_language_model")
        return self._endpoint

    def check_size(self, size: int) -> None:
        """Raises Refusal 413 for a prompt, or the inputs of a task, of so many bytes."""
        if size > self._http.language_max_prompt_kb * 1000:
            limit = self._http.language_max_prompt_kb
            raise Refusal(413, f"The prompt is larger than {limit} KB (PGEMBEDD_LANGUAGE_MAX_PROMPT_KB): shorten it.")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Counts a request that is in progress. Refusal 503 when there are too many."""
        if self._in_progress >= self._http.language_at_once:
            raise Refusal(
                503,
                "Too many answers are in progress (PGEMBEDD_LANGUAGE_AT_ONCE); try again.",
                "busy",
                retry_after_s=1,
            )
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    def generation(self, model: str | None, prompt: Prompt, *, stream: bool, mode: Mode | None = None) -> Generation:
        """Returns a generation that is not started. Refusal 501 without a server."""
        endpoint = self.endpoint() if mode is None else replace(self.endpoint(), mode=mode)
        name = model or self._http.language_model
        return Generation(endpoint, name, prompt, stream=stream, bounds=self._bounds)

    async def models(self) -> list[str]:
        """Returns the names of the server's models; GenerationError where they cannot be had, [] without a server."""
        if self._endpoint is None:
            return []
        try:
            async with asyncio.timeout(LIST_TIMEOUT_S):
                return _names(await _get(self._endpoint, "/v1/models"))
        except TimeoutError:
            raise GenerationTimeoutError(
                f"{self._endpoint.named} did not list its models within {LIST_TIMEOUT_S:g} s."
            ) from None


async def _get(endpoint: Endpoint, path: str) -> bytes:
    """Returns what a server answers with. GenerationError for a refusal."""
    async with answered(endpoint, "GET", endpoint.base + path, LIST_TIMEOUT_S) as response:
        return b"".join([part async for part in bounded(response.aiter_bytes(), MAX_LIST_BYTES)])


def _names(body: bytes) -> list[str]:
    """Returns the ids of a list in OpenAI's form, which Ollama answers with, too."""
    value = read_json(body)
    listed = value.get("data") if isinstance(value, dict) else None
    found = [one.get("id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [name for name in found if isinstance(name, str)]
