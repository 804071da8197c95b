"""Failed requests to a language model's server as errors, whose type says what can be done about them."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgembedd.errors import (
    ContextTooLongError,
    GenerationError,
    GenerationTimeoutError,
    GenerationUnavailableError,
)
from pgembedd.language.chunks import sentence_of
from pgembedd.language.endpoint import KEY_FILE_VARIABLE
from pgembedd.settings.limits import ERROR_BYTES
from pgembedd.settings.servers import retry_after_s

if TYPE_CHECKING:
    import httpx2

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTEXT = re.compile(r"context length (?:is|of) (\d{1,9})\b(.{0,300})", re.DOTALL)
_NUMBER = re.compile(r"\b\d{1,9}\b")
REMEDY = "start it, or set AI_INFERENCE_API_HOST to where it runs"


@contextmanager
def translate_errors(where: str, timeout_s: float, *, remedy: str = REMEDY) -> Iterator[None]:
    """Translates errors of the HTTP client, for the server named by `where`, to those of generations."""
    import httpx2

    try:
        yield
    except httpx2.ConnectTimeout as error:
        raise GenerationTimeoutError(f"{where} did not answer within {timeout_s:g} s.") from error
    except httpx2.TimeoutException as error:
        raise GenerationTimeoutError(f"{where} sent nothing for {timeout_s:g} s.") from error
    except httpx2.ConnectError as error:
        raise GenerationUnavailableError(f"{where} cannot be reached: {remedy}.") from error
    except httpx2.HTTPError as error:
        raise GenerationUnavailableError(
            f"The connection to {where[0].lower()}{where[1:]} broke before the answer was complete; ask again."
        ) from error


async def failure_of(response: "httpx2.Response", where: str, key: str | None = None) -> GenerationError:
    """Returns the error for an answer whose status is not 200, with the reason that its body gives, without `key`."""
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > ERROR_BYTES:
            break
    return failure(response.status_code, response.headers, body, where, secret=key)


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    where: str,
    *,
    key_variable: str = KEY_FILE_VARIABLE,
    secret: str | None = None,
) -> GenerationError:
    """Returns the error for a status, its headers and the body's reason, without the key in `secret`."""
    error = _error_object(body)
    sentence = f"{where} answered with status {status}: {_remedied(status, error, key_variable, secret)}"
    if status in TRANSIENT:
        return GenerationUnavailableError(sentence, status=status, retry_after_s=retry_after_s(headers))
    if isinstance(error, dict) and (exceeded := _exceeded(error)) is not None:
        prompt, context = exceeded
        return ContextTooLongError(
            f"The prompt has {prompt} tokens, but the language model reads {context}: shorten it.",
            status=status,
            prompt_tokens=prompt,
            context_tokens=context,
        )
    return GenerationError(sentence, status=status)


def _exceeded(error: Mapping[str, Any]) -> tuple[int, int] | None:
    """Returns the tokens that a prompt has and those that the model reads; None for another error.

    llama.cpp says them in members, OpenAI and vLLM in the message alone; theirs may count the answer's tokens, too.
    """
    if error.get("type") == "exceed_context_size_error":
        prompt, context = error.get("n_prompt_tokens"), error.get("n_ctx")
        return (prompt, context) if isinstance(prompt, int) and isinstance(context, int) else None
    message = error.get("message")
    found = _CONTEXT.search(message) if isinstance(message, str) else None
    if found is None:
        return None
    context = int(found[1])
    prompt = max((int(number) for number in _NUMBER.findall(found[2])), default=0)
    return (prompt, context) if prompt and context else None


def _error_object(body: bytes) -> Any:
    """Returns the member `error` of a JSON body; for any other its text."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    return value.get("error", value) if isinstance(value, dict) else value


def _remedied(status: int, error: object, key_variable: str, secret: str | None) -> str:
    if status in (401, 403):
        return f"the key is missing or wrong; see {key_variable}."
    if status in (301, 302, 303, 307, 308):
        return "it is a redirect, which is not followed; name its destination as the host."
    return sentence_of(error, secret)
