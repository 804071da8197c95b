"""Failed requests to a language model's server as errors, whose type says what can be done about them."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from pgembedd.errors import (
    ConfigurationError,
    ContextTooLongError,
    GenerationError,
    GenerationTimeoutError,
    GenerationUnavailableError,
)
from pgembedd.language.endpoint import Endpoint
from pgembedd.language.parts import read_json, sentence_of
from pgembedd.settings.limits import ERROR_BYTES
from pgembedd.settings.servers import retry_after_s

if TYPE_CHECKING:
    import httpx2

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTEXT = re.compile(r"context length (?:is|of) (\d{1,9})\b(.{0,300})", re.DOTALL)
_NUMBER = re.compile(r"\b\d{1,9}\b")
MAX_WAIT_S = 600


@asynccontextmanager
async def answered(
    endpoint: Endpoint, method: str, url: str, timeout_s: float, **request: Any
) -> AsyncIterator["httpx2.Response"]:
    """Sends a request, and yields the response where its status is 200. GenerationError for any other."""
    with _translated_errors(endpoint, timeout_s):
        async with endpoint.client(timeout_s) as client, client.stream(method, url, **request) as response:
            if response.status_code != 200:
                raise await _failure(response, endpoint)
            yield response


@contextmanager
def _translated_errors(endpoint: Endpoint, timeout_s: float) -> Iterator[None]:
    """Translates errors of the HTTP client to those of generations."""
    import httpx2

    where = endpoint.named
    try:
        yield
    except ConfigurationError as error:
        raise GenerationUnavailableError(str(error)) from error
    except httpx2.ConnectTimeout as error:
        raise GenerationTimeoutError(f"{where} did not answer within {timeout_s:g} s.") from error
    except httpx2.TimeoutException as error:
        raise GenerationTimeoutError(f"{where} sent nothing for {timeout_s:g} s.") from error
    except httpx2.ConnectError as error:
        raise GenerationUnavailableError(f"{where} cannot be reached: {endpoint.remedy}.") from error
    except httpx2.HTTPError as error:
        raise GenerationUnavailableError(
            f"The connection to {where[0].lower()}{where[1:]} broke before the answer was complete; ask again."
        ) from error


async def _failure(response: "httpx2.Response", endpoint: Endpoint) -> GenerationError:
    """Returns the error for a status that is not 200, with the reason that the body gives, without the key."""
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > ERROR_BYTES:
            break
    status, value = response.status_code, read_json(body)
    error = value.get("error", value) if isinstance(value, dict) else value or body.decode("utf-8", "replace")
    sentence = f"{endpoint.named} answered with status {status}: {_remedied(status, error, endpoint)}"
    if status in TRANSIENT:
        wait_s = retry_after_s(response.headers) or _estimated_s(value)
        return GenerationUnavailableError(sentence, status=status, retry_after_s=wait_s)
    if isinstance(error, dict) and (exceeded := _exceeded(error)) is not None:
        prompt, context = exceeded
        return ContextTooLongError(
            f"The prompt has {prompt} tokens, but the language model reads {context}: shorten it.",
            status=status,
            prompt_tokens=prompt,
            context_tokens=context,
        )
    return GenerationError(sentence, status=status)


def _estimated_s(value: object) -> int | None:
    """Returns how long Hugging Face expects a model that is being loaded to take."""
    seconds: Any = value.get("estimated_time") if isinstance(value, dict) else None
    known = isinstance(seconds, int | float) and 0 < seconds < MAX_WAIT_S
    return ceil(seconds) if known else None


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


def _remedied(status: int, error: object, endpoint: Endpoint) -> str:
    if status in (401, 403):
        return f"the key is missing or wrong; see {endpoint.key_variable}."
    if status in (301, 302, 303, 307, 308):
        return "it is a redirect, which is not followed; name its destination as the host."
    return sentence_of(error, endpoint.key)
