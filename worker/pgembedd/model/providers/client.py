"""Requests to a provider, and its failures as errors whose type says what can be done about them."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from pgembedd.errors import ModelError, ProviderBusyError, ProviderRefusedError
from pgembedd.model.futures import Kind
from pgembedd.model.providers.configured import Provider
from pgembedd.model.providers.protocol import ProviderAnswer
from pgembedd.settings.limits import ERROR_BYTES, vectors_bytes
from pgembedd.settings.servers import certificates, error_excerpt, is_loopback, retry_after_s
from pgembedd.text.quantities import counted

BUSY = frozenset({408, 425, 429, 502, 503, 504})
REFUSED = frozenset({401, 402, 403, 404})
_NO_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "access_terminated"})
SHORT_DELAY_S = 5.0
LONGEST_ANSWER = 10
"""In timeouts, from the request to the end of the answer: one that comes byte by byte would never time out."""


class Client:
    """The connections to one provider, for all threads. After a 429 no thread asks until the delay is over."""

    def __init__(self, provider: Provider) -> None:
        """Connects when it is first asked. ConfigurationError without certificates."""
        self._provider, self._not_before = provider, 0.0
        self._places = threading.BoundedSemaphore(provider.limits.at_once)
        self._http = httpx2.Client(
            timeout=httpx2.Timeout(provider.limits.timeout_s),
            follow_redirects=False,  # another host would get the content and the key
            verify=certificates(provider.url),
            # No proxy reaches this machine's own servers.
            trust_env=not is_loopback(urlsplit(provider.url).hostname or ""),
        )

    def embed(self, model: str, texts: Sequence[str], kind: Kind, dims: int = 0) -> ProviderAnswer:
        """Returns one vector for each text; with `dims`, where it is known, the answer is bounded.

        ProviderBusyError where the same request may succeed later, ProviderRefusedError where none will until the
        operator has done something, and ModelError where these texts are refused. Waits while `at_once` requests
        with documents are in progress; a query does not wait for them.
        """
        protocol, body = self._provider.protocol, self.body(model, texts, kind)
        with self._places if kind == "document" else nullcontext():
            wait_s = self._not_before - time.monotonic()
            if wait_s > 0:
                raise ProviderBusyError(f"The provider {self._provider.name} asked to wait.", wait_s)
            content = self.send(
                "POST", protocol.path.format(model=model), vectors_bytes(len(texts), dims), orjson.dumps(body)
            )
        try:
            answer = protocol.answer(orjson.loads(content))
            number = len(answer.vectors)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The provider {self._provider.name} answered with something else than vectors; check its protocol."
            ) from error
        if number != len(texts):
            gave = f"{counted(number, 'vector')} for {counted(len(texts), 'text')}"
            raise ModelError(f"The provider {self._provider.name} gave {gave}.")
        return answer

    def body(self, model: str, texts: Sequence[str], kind: Kind) -> dict[str, Any]:
        """Returns the body of a request for vectors."""
        protocol = self._provider.protocol
        body = protocol.body(model, texts, kind)
        if protocol.dimensions and self._provider.dimensions is not None:
            body[protocol.dimensions] = self._provider.dimensions
        return body

    def send(
        self, method: str, path: str, most: int, body: bytes | None = None, content_type: str = "application/json"
    ) -> bytes:
        """Returns the body of the answer, of at most so many bytes. Raises as `embed`."""
        name, key = self._provider.name, self._provider.key()
        headers = {"accept-encoding": "identity", "user-agent": "pgembedd"}
        headers |= {} if body is None else {"content-type": content_type}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        until = time.monotonic() + LONGEST_ANSWER * self._provider.limits.timeout_s
        try:
            with self._http.stream(method, self._provider.url + path, content=body, headers=headers) as response:
                content = bytearray()
                for part in response.iter_bytes():
                    content += part
                    if response.status_code != 200 and len(content) > ERROR_BYTES:
                        break
                    if len(content) > most:
                        raise ModelError(
                            f"The provider {name} answered with more than {most} bytes; check its protocol."
                        )
                    if time.monotonic() > until:
                        raise ProviderBusyError(f"The provider {name} answers too slowly.", SHORT_DELAY_S)
        except (httpx2.HTTPError, OSError) as error:
            # Without its address, which is the operator's: users of the HTTP service are told this, too.
            sentence = f"The provider {name} does not answer ({type(error).__name__})."
            raise ProviderBusyError(sentence, SHORT_DELAY_S) from error
        if response.status_code != 200:
            raise self._failure(response.status_code, response.headers, bytes(content), key)
        return bytes(content)

    def _failure(self, status: int, headers: Mapping[str, str], content: bytes, key: str | None) -> Exception:
        code, reason = _reason(content, key)
        sentence = f"The provider {self._provider.name} answered with status {status}: {reason or 'no reason given'}"
        if status in REFUSED or code in _NO_QUOTA or 300 <= status < 400:
            return ProviderRefusedError(sentence)
        if status not in BUSY:
            return ModelError(sentence)
        asked_s = retry_after_s(headers)
        delay_s = SHORT_DELAY_S if asked_s is None else float(asked_s)
        if status == 429:
            self._not_before = max(self._not_before, time.monotonic() + delay_s)
        return ProviderBusyError(sentence, delay_s)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


def _reason(content: bytes, key: str | None) -> tuple[str, str]:
    """Returns the code and the sentence of an error's body, without `key`: "" for what it does not have."""
    try:
        value = orjson.loads(content[:ERROR_BYTES])
    except ValueError:
        return "", error_excerpt(content.decode("utf-8", "replace"), key)
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", error_excerpt(str(error), key)
    sentence = next((error[each] for each in ("message", "detail", "error") if isinstance(error.get(each), str)), "")
    return str(error.get("code") or error.get("type") or ""), error_excerpt(sentence, key)
