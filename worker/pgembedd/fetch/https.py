"""A file of a web server, over TLS: each address is checked and then connected to, after a redirect anew."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ssl import SSLContext

import httpx2

from pgembedd.fetch.addresses import addresses_of
from pgembedd.fetch.deadline import Deadline
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import Fetched, too_large
from pgembedd.fetch.uri import Uri, parse_uri

REDIRECTS = 5
"""That are followed."""
IDLE_S = 20.0
"""Longest silence of a server."""
_TRANSIENT = frozenset({408, 425, 429})
_MOVED = frozenset({301, 302, 303, 307, 308})
_CONDITIONS = {"etag": "if-none-match", "last-modified": "if-modified-since"}


@dataclass(frozen=True)
class HttpsFetch:
    """One fetch of at most so many bytes, before a deadline; None for a file that is the one of the `validator`.

    `allows` refuses a URI by FetchError, and tells whether its host may have a private address. No proxy is used: it
    would resolve the names itself.
    """

    trusted: SSLContext
    allows: Callable[[Uri], bool]
    deadline: Deadline
    most_bytes: int
    validator: str | None

    def fetch(self, uri: Uri) -> Fetched | None:
        """Returns the file, from where the host redirects to; FetchError."""
        place = uri
        for _ in range(REDIRECTS + 1):
            answer = self._ask(place)
            if not isinstance(answer, Uri):
                return answer
            place = answer
        raise FetchError(f"The host {uri.host} redirects more than {REDIRECTS} times.")

    def _ask(self, uri: Uri) -> Fetched | Uri | None:
        """Returns the file, or where it is to be had; None where it is that of the validator."""
        condition = _condition(self.validator, uri)
        with self._answer(uri, condition) as response:
            status = response.status_code
            if status == 304 and condition:
                return None
            if status in _MOVED and "location" in response.headers:
                return parse_uri(str(httpx2.URL(uri.text).join(response.headers["location"]).copy_with(fragment=None)))
            if status != 200:
                later = status >= 500 or status in _TRANSIENT
                raise FetchError(f"The host {uri.host} answered with status {status}.", permanent=not later)
            return Fetched(self._body(response, uri), _validator(response.headers, uri))

    @contextmanager
    def _answer(self, uri: Uri, condition: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """Yields the answer of the first address that can be connected to, before its body."""
        try:
            # Of one request: a connection to the same address for another name was checked for that name.
            with httpx2.Client(verify=self.trusted, trust_env=False, timeout=IDLE_S) as client:
                response = self._send(client, uri, condition)
                try:
                    yield response
                finally:
                    response.close()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            if self.deadline.passed:
                raise FetchError(f"The host {uri.host} did not send the file in time.", permanent=False) from error
            reason = type(error.__cause__ or error).__name__
            raise FetchError(f"The host {uri.host} does not answer ({reason}).", permanent=False) from error

    def _send(self, client: httpx2.Client, uri: Uri, condition: Mapping[str, str]) -> httpx2.Response:
        url = httpx2.URL(uri.text)
        name, port = url.raw_host.decode(), url.port or 443
        if uri.host not in (name, f"{name}:{port}", f"[{name}]", f"[{name}]:{port}"):  # two readings of one text
            raise FetchError("The URI cannot be read: its host or port is none.")
        headers = {"host": uri.host, "accept-encoding": "identity", "user-agent": "pgembedd", **condition}
        extensions = {"sni_hostname": name, "trace": self.deadline.trace}
        failed: Exception = FetchError(f"The host {uri.host} has no address.")
        for address in addresses_of(name, port, private=self.allows(uri)):
            request = client.build_request("GET", url.copy_with(host=address), headers=headers, extensions=extensions)
            try:
                return client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
        raise failed

    def _body(self, response: httpx2.Response, uri: Uri) -> bytes:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise FetchError(f"The host {uri.host} answers in the encoding {encoding[:20]}, which was not asked for.")
        length = response.headers.get("content-length", "")
        if not length and "transfer-encoding" not in response.headers:  # one that is cut off would look complete
            raise FetchError(f"The host {uri.host} does not say how long the file is.")
        if length.isdecimal() and int(length) > self.most_bytes:
            raise too_large(int(length), self.most_bytes)
        content = bytearray()
        for part in response.iter_raw():
            content += part
            if len(content) > self.most_bytes:
                raise too_large(len(content), self.most_bytes)
        return bytes(content)


def _validator(headers: Mapping[str, str], uri: Uri) -> str | None:
    """Returns what the server gave, and where: at another place it would mean nothing.

    One that is not ASCII is left out, as its bytes are not known when it is sent back.
    """
    for name, condition in _CONDITIONS.items():
        if 0 < len(headers.get(name, "")) <= 1_000 and headers[name].isascii():
            return f"{condition}\n{headers[name]}\n{uri.text}"
    return None


def _condition(validator: str | None, uri: Uri) -> dict[str, str]:
    name, _, rest = (validator or "").partition("\n")
    value, _, place = rest.partition("\n")
    return {name: value} if value and place == uri.text else {}
