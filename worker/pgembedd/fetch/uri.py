"""URIs in parts that can be compared, and whether one begins with another. Values only."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from pgembedd.errors import ConfigurationError
from pgembedd.fetch.errors import FetchError

LONGEST = 8_000
"""Characters of a URI."""
BUCKETS = ("s3", "gs", "az")
SCHEMES = ("file", "https", *BUCKETS)
_UNUSABLE = re.compile(r"[\x00-\x20\x7f\\]")
_DOTS = re.compile(r"(^|[/\\])\.\.?($|[/\\;])")
"""Of a segment; what follows a semicolon are parameters of it, which some servers drop."""


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI: `host` includes a port, is "" for files, or a bucket; `segments` are those of its path, decoded."""

    scheme: str
    host: str
    segments: tuple[str, ...]
    text: str

    @property
    def path(self) -> str:
        """The path of a file."""
        return "/" + "/".join(self.segments)

    @property
    def bucket(self) -> str:
        """The bucket of an object, as a URI."""
        return f"{self.scheme}://{self.host}"

    @property
    def key(self) -> str:
        """The key of an object."""
        return "/".join(self.segments)

    def begins_with(self, prefix: "Uri") -> bool:
        """Tells whether this one is the same or below; `https://` has every host below it."""
        if self.scheme != prefix.scheme or (prefix.host or self.host) != self.host:
            return False
        above = prefix.segments[:-1] if prefix.segments[-1:] == ("",) else prefix.segments
        return self.segments[: len(above)] == above

    def is_below(self, prefixes: Iterable["Uri"]) -> bool:
        """Tells whether it begins with one of them."""
        return any(self.begins_with(prefix) for prefix in prefixes)


def parse_uri(text: str) -> Uri:
    """Returns a URI that can be fetched; FetchError, in a sentence, for another one."""
    if len(text) > LONGEST:
        raise FetchError(f"The URI has more than {LONGEST:,} characters.")
    try:
        parts = urlsplit(text)
        host = _host(parts)
    except ValueError:
        raise FetchError("The URI cannot be read: its host or port is none.") from None
    if parts.scheme not in SCHEMES:
        raise FetchError(f"The URI begins with none of {', '.join(f'{each}://' for each in SCHEMES)}.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise FetchError("The URI holds a user, a password or a fragment.")
    errors = "surrogateescape" if parts.scheme == "file" else "replace"
    segments = tuple(unquote(each, errors=errors) for each in parts.path.removeprefix("/").split("/"))
    if _UNUSABLE.search(text) or any(_UNUSABLE.search(each.replace(" ", "")) for each in segments):
        raise FetchError("The URI holds spaces, backslashes or control characters: percent-encode the spaces.")
    if any(_DOTS.search(form) for each in segments for form in (each, unquote(each))):  # some servers decode twice
        raise FetchError("The path of the URI holds '.' or '..'.")
    wrong = (host == "") != (parts.scheme == "file") or (parts.scheme == "file" and parts.path[:1] != "/")
    if wrong or (parts.scheme != "https" and (parts.query or ":" in host)):
        raise FetchError("The URI is none of file:///path, https://host/path and s3://bucket/key.")
    return Uri(parts.scheme, host, segments, text)


def parse_prefix(text: str) -> Uri:
    """Returns what URIs may begin with; FetchError where none can."""
    if text == "https://":
        return Uri("https", "", ("",), text)
    prefix = parse_uri(text)
    if "?" in text:
        raise FetchError("A prefix holds no query.")
    return prefix


def parse_prefixes(text: str, where: str) -> tuple[Uri, ...]:
    """Returns the prefixes that a setting names, by comma. ConfigurationError."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(parse_prefix(part))
        except FetchError as error:
            raise ConfigurationError(f"{where} names {part}: {error}") from None
    return tuple(found)


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".").encode("idna" if (parts.hostname or "").isascii() is False else "ascii")
    port = parts.port
    name = host.decode()
    name = f"[{name}]" if ":" in name else name
    return name if port in (None, 443) else f"{name}:{port}"
