"""A language model's server: its address, its protocol, its key, and the requests that it understands."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from pgembedd.errors import ConfigurationError
from pgembedd.settings import LanguageSettings, text_from_environment
from pgembedd.settings.files import read_key
from pgembedd.settings.servers import certificates, is_loopback, server_url

if TYPE_CHECKING:
    import httpx2

Mode = Literal["ollama", "openaicompatible"]
MODES: tuple[Mode, ...] = get_args(Mode)
HOST_VARIABLE = "PGEMBEDD_LANGUAGE_HOST"
KEY_FILE_VARIABLE = "PGEMBEDD_LANGUAGE_KEY_FILE"

Prompt = str | Mapping[str, Any]
"""A text, or the members of the request's body, as `{"messages": [...]}`."""


@dataclass(frozen=True)
class Endpoint:
    """A server. `host` may have a path of its own, which is kept; `/v1` at its end is not repeated."""

    host: str
    mode: Mode = "ollama"
    key: str | None = None
    title: str = ""
    """The server's name in errors; its address, unless given."""
    key_variable: str = KEY_FILE_VARIABLE
    """In errors: where the key is set."""
    remedy: str = f"start it, or set {HOST_VARIABLE} to where it runs"
    """In errors: what to do where the server cannot be reached."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a host that is no URL, and for an unknown mode."""
        if self.mode not in MODES:
            raise ConfigurationError(
                f"There is no mode {self.mode!r} of a language model; choose {' or '.join(MODES)}."
            )
        if self.key is not None and not (isinstance(self.key, str) and self.key.isascii() and self.key.isprintable()):
            raise ConfigurationError("The key of a language model's server is one line of printable ASCII characters.")
        parts = server_url(self.host)
        if parts is None:
            raise ConfigurationError(
                f"A language model's server is named by its URL, as http://127.0.0.1:11434 ({HOST_VARIABLE})."
            )
        if parts.username is not None:
            raise ConfigurationError(
                f"A key does not belong into the URL of {HOST_VARIABLE}: put it into the file that "
                f"{KEY_FILE_VARIABLE} names."
            )

    @property
    def base(self) -> str:
        """The host without a slash, `/v1` or, as Supabase's guide has it, `/api/generate` at its end."""
        return self.host.rstrip("/").removesuffix("/v1").removesuffix("/api/generate").rstrip("/")

    @property
    def named(self) -> str:
        """Its name in errors."""
        return self.title or f"The language model's server at {self.base}"

    def path(self, prompt: Prompt) -> str:
        """Returns where this prompt is posted to."""
        if self.mode == "openaicompatible":
            return "/v1/chat/completions"
        return "/api/chat" if not isinstance(prompt, str) and "messages" in prompt else "/api/generate"

    def body(self, model: str, prompt: Prompt, *, stream: bool, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Returns the body of the request; members of an object override `model`, but not `stream`.

        `options` are Ollama's (`num_ctx`, …). ConfigurationError where they are given to another server, and for a
        prompt that is none.
        """
        check_prompt(prompt)
        if options is not None and not isinstance(options, Mapping):
            raise ConfigurationError(f'options are an object, as {{"num_ctx": 8192}}, and not {_type(options)}.')
        if isinstance(prompt, str):
            members: dict[str, Any] = (
                {"prompt": prompt} if self.mode == "ollama" else {"messages": [{"role": "user", "content": prompt}]}
            )
        else:
            members = dict(prompt)
        if options:
            if self.mode != "ollama":
                raise ConfigurationError(
                    "options are Ollama's: give the parameters of a compatible server as members of the prompt, "
                    'as {"messages": [...], "temperature": 0}.'
                )
            members["options"] = {**(members.get("options") or {}), **options}
        return {"model": model, **members, "stream": stream}

    def client(self, timeout_s: float) -> "httpx2.AsyncClient":
        """Returns an HTTP client for one request to this host alone: it follows no redirect.

        `timeout_s` is for the connection, and between two parts. ConfigurationError without certificates.
        """
        import httpx2

        return httpx2.AsyncClient(
            headers={"authorization": f"Bearer {self.key}"} if self.key else {},
            timeout=httpx2.Timeout(timeout_s),
            follow_redirects=False,  # another host would get the content and the key
            verify=certificates(self.host),
            # No proxy reaches this machine's own servers.
            trust_env=not is_loopback(urlsplit(self.host).hostname or ""),
        )


def check_prompt(prompt: object) -> None:
    """Raises ConfigurationError for what is neither a text nor the members of a body."""
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, Mapping):
        fault = f"and not {_type(prompt)}"
    elif not all(isinstance(name, str) for name in prompt):
        fault = "whose names are texts"
    elif not isinstance(prompt.get("options") or {}, Mapping):
        fault = "whose options are an object"
    else:
        return
    raise ConfigurationError(
        f'A prompt is a text, or an object as {{"messages": [{{"role": "user", "content": "…"}}]}}, {fault}.'
    )


def _type(value: object) -> str:
    return type(value).__name__


def endpoint_of(settings: LanguageSettings) -> Endpoint | None:
    """Returns the server of the settings, None without one.

    ConfigurationError for a host that is no URL, and for a key file that cannot be read.
    """
    key = read_key(settings.language_key_file, KEY_FILE_VARIABLE) if settings.language_key_file else None
    mode: Any = settings.language_mode
    host = settings.language_host
    return Endpoint(host, mode, key, "The language model's server") if host else None


def host_from_environment() -> str:
    """Returns what PGEMBEDD_LANGUAGE_HOST, else AI_INFERENCE_API_HOST, names; "" where neither is set."""
    return text_from_environment(LanguageSettings.__dataclass_fields__["language_host"])


def endpoint_from_environment(mode: Mode = "ollama") -> Endpoint | None:
    """Returns the server that the environment names, with the key of PGEMBEDD_LANGUAGE_KEY_FILE; else None."""
    host = host_from_environment()
    if not host:
        return None
    path = os.environ.get(KEY_FILE_VARIABLE)
    return Endpoint(host, mode, read_key(path, KEY_FILE_VARIABLE) if path else None)
