"""Tasks of Hugging Face's inference API: texts to vectors, classes, summaries, translations, images and others.

The address and the token are those of huggingface_hub, and the requests are those of its InferenceClient.
Its methods are not used: they drop parameters that they do not know, take a URL for a model's name, read local files
that a request names, open images with a library of their own, and hold an answer of any size.
"""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgembedd.errors import ConfigurationError, GenerationTimeoutError
from pgembedd.language.endpoint import Endpoint
from pgembedd.language.failures import answered
from pgembedd.language.generation import Bounds, bounded
from pgembedd.language.parts import read_json

NAME = "huggingface"
HOST_VARIABLE = "PGEMBEDD_TASKS_HOST"
MODELS_VARIABLE = "PGEMBEDD_TASKS_MODELS"
TOKEN_VARIABLE = "HUGGING_FACE_ACCESS_TOKEN"

TASKS = frozenset(
    {
        "audio-classification",
        "automatic-speech-recognition",
        "document-question-answering",
        "feature-extraction",
        "fill-mask",
        "image-classification",
        "image-segmentation",
        "image-to-image",
        "image-to-text",
        "object-detection",
        "question-answering",
        "sentence-similarity",
        "summarization",
        "table-question-answering",
        "text-classification",
        "text-generation",
        "text-to-audio",
        "text-to-image",
        "text-to-speech",
        "token-classification",
        "translation",
        "video-classification",
        "visual-question-answering",
        "zero-shot-classification",
        "zero-shot-image-classification",
    }
)

_MODEL = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_PIPELINES = ("feature-extraction", "sentence-similarity")  # models of several tasks: their path says which
_MEDIA = re.compile(r"application/json|(audio|image|video)/(?!svg)[\w.+-]+", re.ASCII)


@dataclass(frozen=True)
class TaskAnswer:
    """The bytes of an answer, and their type: JSON, an image or a sound."""

    content: bytes
    content_type: str


class HuggingFace:
    """A server of tasks; `run()` sends one request."""

    def __init__(self, host: str, models: Mapping[str, str], bounds: Bounds) -> None:
        """`host` is `huggingface` or a URL; `models` answer requests that name none. ConfigurationError for others,
        and for a token that is none."""
        from huggingface_hub import constants

        base = constants.INFERENCE_PROXY_TEMPLATE.format(provider="hf-inference") if host == NAME else host
        if host != NAME and not host.startswith(("http://", "https://")):
            raise ConfigurationError(f"{HOST_VARIABLE} is {host!r}; it has to be {NAME}, or a URL.")
        try:
            self._endpoint = Endpoint(
                base, title="The server of tasks", key_variable=TOKEN_VARIABLE, remedy=f"check {HOST_VARIABLE}"
            )
        except ConfigurationError:
            raise ConfigurationError(
                f"{HOST_VARIABLE} has to be {NAME}, or the URL of a server; its token is in {TOKEN_VARIABLE}."
            ) from None
        try:
            for task, model in models.items():
                _check_names(task, model)
        except ConfigurationError as error:
            raise ConfigurationError(f"{MODELS_VARIABLE}: {error}") from None
        _token()  # refused here, as a request's client could not help it
        self._models, self._bounds = models, bounds

    def model_for(self, task: str) -> str | None:
        """Returns the model of the settings."""
        return self._models.get(task)

    async def run(
        self, task: str, inputs: Any, parameters: Mapping[str, Any] | None, model: str, *, use_cache: bool = True
    ) -> TaskAnswer:
        """Sends a task and returns its answer. ConfigurationError for an unknown task or a model that is no name.

        GenerationError for a server that refuses; GenerationUnavailableError while it loads the model.
        """
        _check_names(task, model)
        try:
            async with asyncio.timeout(self._bounds.total_s):
                return _unwrapped(task, await self._post(task, _payload(task, inputs, parameters), model, use_cache))
        except TimeoutError:
            raise GenerationTimeoutError(f"The task was not done after {self._bounds.total_s:g} s.") from None

    async def _post(self, task: str, payload: dict[str, Any], model: str, use_cache: bool) -> TaskAnswer:
        url = f"{self._endpoint.host.rstrip('/')}/models/{model}" + (f"/pipeline/{task}" if task in _PIPELINES else "")
        endpoint, timeout_s = replace(self._endpoint, key=_token()), self._bounds.timeout_s
        content, headers = json.dumps(payload).encode(), _headers(task, use_cache)
        async with answered(endpoint, "POST", url, timeout_s, content=content, headers=headers) as response:
            parts = bounded(response.aiter_bytes(), self._bounds.max_bytes)
            body = b"".join([part async for part in parts])
            return TaskAnswer(body, _media_type(response.headers.get("content-type", "")))


def parse_models(setting: str) -> dict[str, str]:
    """Returns the models by task of a setting like `summarization=facebook/bart-large-cnn,...`."""
    pairs = [pair.partition("=") for pair in setting.split(",") if pair.strip()]
    if any(not model.strip() for _, _, model in pairs):
        raise ConfigurationError(
            f"{MODELS_VARIABLE} names models by task, as in summarization=facebook/bart-large-cnn."
        )
    return {task.strip(): model.strip() for task, _, model in pairs}


def _check_names(task: str, model: str) -> None:
    """Raises ConfigurationError for an unknown task, and for a model that is no name of the Hub: both are in a URL."""
    if task not in TASKS:
        raise ConfigurationError(f"There is no such task; there are {', '.join(sorted(TASKS))}.")
    if not _MODEL.fullmatch(model) or ".." in model:
        raise ConfigurationError("A model of a task is named as on the Hub: owner/name.")


def _token() -> str | None:
    from huggingface_hub import get_token

    token = os.environ.get(TOKEN_VARIABLE) or get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise ConfigurationError(f"The token of Hugging Face ({TOKEN_VARIABLE}) has characters that no token has.")
    return token


def _headers(task: str, use_cache: bool) -> dict[str, str]:
    headers = {"content-type": "application/json", "user-agent": "pgembedd"}
    if task == "text-to-image":
        headers["accept"] = "image/png"
    if not use_cache:
        headers["x-use-cache"] = "false"
    return headers


def _payload(task: str, inputs: Any, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    if task == "feature-extraction":  # the one task whose parameters stand next to the inputs
        return {**(parameters or {}), "inputs": inputs}
    return {"inputs": inputs, **({"parameters": dict(parameters)} if parameters else {})}


def _unwrapped(task: str, answer: TaskAnswer) -> TaskAnswer:
    """Returns the answer as Hugging Face's own clients return it, for tasks that wrap the one they have in a list."""
    if answer.content_type != "application/json" or task not in ("summarization", "translation", "text-classification"):
        return answer
    value = read_json(answer.content)
    inside = dict if task != "text-classification" else list
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], inside):
        return TaskAnswer(json.dumps(value[0]).encode(), answer.content_type)
    return answer


def _media_type(given: str) -> str:
    """Returns the type without parameters; of one that a browser might run, that of mere bytes."""
    kind = given.partition(";")[0].strip().casefold()
    return kind if _MEDIA.fullmatch(kind) else "application/octet-stream"
