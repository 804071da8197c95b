"""Tokens, their scopes and whose rights their searches have: from the settings and the file of tokens."""

import hashlib
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pgembedd.errors import ConfigurationError
from pgembedd.log import get_logger
from pgembedd.search.role import check_search_url
from pgembedd.settings import HttpSettings
from pgembedd.settings.files import read_secret

Scope = Literal["embed", "search", "jobs", "generate", "tasks", "answers", "admin"]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
MIN_TOKEN_CHARACTERS = 16
_SEARCH_AS = "search="


@dataclass(frozen=True, slots=True)
class Caller:
    """The rights of a request.

    `search_url` is the connection string of the role whose rights its searches have, "" for none; `claims` are those
    of a verified JWT.
    """

    scopes: frozenset[str]
    search_url: str = field(default="", repr=False)
    claims: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def user(self) -> tuple[str, str | None]:
        """The user as the database knows it: its role, and the subject of a JWT; other tokens have none."""
        return self.search_url, None if self.claims is None else str(self.claims.get("sub"))


@dataclass(frozen=True, slots=True)
class Token:
    """The digest of a token, and what a request with it may do."""

    digest: bytes
    caller: Caller


def load_tokens(settings: HttpSettings) -> list[Token]:
    """Returns the tokens of the settings. ConfigurationError for a token or a file that is not well formed."""
    everything = Caller(SCOPES, settings.search_url)
    tokens = [_token(settings.http_token, everything, "PGEMBEDD_HTTP_TOKEN")] if settings.http_token else []
    if settings.http_tokens_file:
        _warn_if_readable(Path(settings.http_tokens_file))
        lines = read_secret(settings.http_tokens_file, "PGEMBEDD_HTTP_TOKENS_FILE").splitlines()
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                where = f"line {number} of {settings.http_tokens_file}"
                tokens.append(_parse(line, settings.search_url, where))
        if not tokens:
            raise ConfigurationError(f"The file {settings.http_tokens_file} names no token, only comments.")
    return tokens


def _warn_if_readable(path: Path) -> None:
    with suppress(OSError):  # reading it says what is wrong
        if path.stat().st_mode & stat.S_IROTH:
            get_logger().warning("tokens_file_readable", path=str(path), remedy=f"chmod o-r {shlex.quote(str(path))}")


def _parse(line: str, search_url: str, where: str) -> Token:
    """Reads a line: the token, its scopes, and in place of the scope search also search=URL, the role of its own."""
    secret, *parts = line.split()
    urls = [part.removeprefix(_SEARCH_AS) for part in parts if part.startswith(_SEARCH_AS)]
    words = {word for part in parts if not part.startswith(_SEARCH_AS) for word in part.split(",") if word}
    if len(urls) > 1:
        raise ConfigurationError(f"A token searches as one role, so {_SEARCH_AS}… stands once ({where}).")
    if urls:
        check_search_url(urls[0], f"The URL of {_SEARCH_AS}… ({where})")
        words.add("search")
    if unknown := sorted(words - SCOPES):
        known = ", ".join(get_args(Scope))
        named, url, _ = unknown[0].partition("=")  # which may hold a password
        remedy = f" {_SEARCH_AS}… is a word of its own." if url else ""
        raise ConfigurationError(f"There is no scope {named + url!r} ({where}); there are {known}.{remedy}")
    return _token(secret, Caller(frozenset(words) or SCOPES, urls[0] if urls else search_url), where)


def _token(secret: str, caller: Caller, where: str) -> Token:
    if len(secret) < MIN_TOKEN_CHARACTERS or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            f"A token must be {MIN_TOKEN_CHARACTERS} or more letters, digits and signs ({where}): "
            "openssl rand -hex 32 makes one."
        )
    return Token(hashlib.sha256(secret.encode()).digest(), caller)
