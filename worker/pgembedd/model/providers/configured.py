"""The providers that the operator has enabled, by name."""

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgembedd.errors import ConfigurationError, ModelError
from pgembedd.model.providers.protocol import COMPATIBLE, PROTOCOLS, Limits, OpenAI
from pgembedd.settings import Settings
from pgembedd.settings.files import read_format, read_key
from pgembedd.settings.servers import server_url

_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
_MODEL = re.compile(r"([a-z][a-z0-9_-]*):(?![/\\])(.+)", re.ASCII | re.IGNORECASE)
_NUMBERS: dict[str, float] = {
    "max_inputs": 2_048,
    "max_tokens": 1_000_000,
    "max_request_tokens": 10_000_000,
    "at_once": 256,
    "timeout_s": 3_600,
    "tokens_per_day": 10**15,
    "requests_per_day": 10**15,
    "dimensions": 16_000,
}
"""The largest value of each limit, and of the dimensions."""
_MEMBERS = {"protocol", "url", "key_file", *_NUMBERS}


@dataclass(frozen=True)
class Provider:
    """An enabled provider. `dimensions` shortens the vectors of models that can be shortened."""

    name: str
    protocol: OpenAI
    url: str
    limits: Limits
    key_file: str = ""
    dimensions: int | None = None
    batches: bool = False
    """Whether texts of backfills are sent to it as batches."""

    def key(self) -> str | None:
        """Returns its key, read again each time, so that a corrected one needs no restart."""
        if not self.key_file:
            return None
        try:
            return read_key(self.key_file, f"key_file of the provider {self.name}")
        except ConfigurationError as error:
            # Callers of HTTP read it, too, whom the path does not concern.
            sentence = str(error).replace(f"The file {self.key_file} named", "The file named", 1)
            raise ModelError(sentence) from error


def split_model(name: str) -> tuple[str, str] | None:
    """Returns provider and model of a name like `openai:text-embedding-3-small`; None for a model of this process."""
    found = _MODEL.fullmatch(name)
    return None if found is None or Path(name).exists() else (found[1].casefold(), found[2])


def enabled_providers(settings: Settings) -> dict[str, Provider]:
    """Returns what PGEMBEDD_PROVIDERS and PGEMBEDD_PROVIDERS_FILE name. ConfigurationError for what is not right."""
    found: dict[str, Provider] = {}
    sections = read_format(settings.providers_file, "PGEMBEDD_PROVIDERS_FILE", "TOML", tomllib.loads) or {}
    for part in filter(None, (part.strip() for part in settings.providers.split(","))):
        name, _, url = (word.strip() for word in part.partition("="))
        found[name] = _provider(name, {"url": url} if url else {}, "PGEMBEDD_PROVIDERS")
    for name, members in sections.items():
        found[name] = _provider(name, members, f"The file {settings.providers_file}")
    for name in filter(None, (part.strip() for part in settings.provider_batch.split(","))):
        if name not in found or not found[name].protocol.batches:
            able = ", ".join(one.name for one in found.values() if one.protocol.batches) or "none"
            raise ConfigurationError(
                f"PGEMBEDD_PROVIDER_BATCH names {name}, no enabled provider that takes batches; there is {able}."
            )
        found[name] = replace(found[name], batches=True)
    return found


def _provider(name: str, members: Any, where: str) -> Provider:
    try:
        return _checked(name, members)
    except ValueError as error:
        raise ConfigurationError(f"{where}{error}") from None


def _checked(name: str, members: Any) -> Provider:
    """Returns the provider. ValueError, whose text goes on after its place, for what is not right."""
    if not _NAME.fullmatch(name):
        raise ValueError(f" names a provider {name!r}; a name has small letters, digits, - and _.")
    if not isinstance(members, dict) or not members.keys() <= _MEMBERS:
        raise ValueError(f": the provider {name} may have {', '.join(sorted(_MEMBERS))}, nothing else.")
    protocol = _protocol(name, members.get("protocol", name if name in PROTOCOLS else "openai"))
    numbers = {each: _number(name, each, members[each]) for each in _NUMBERS if each in members}
    dimensions = numbers.pop("dimensions", None)
    key_file = members.get("key_file", "")
    if not isinstance(key_file, str) or (protocol.needs_key and not key_file):
        raise ValueError(
            f": the provider {name} needs a key_file: give it a section in the file of PGEMBEDD_PROVIDERS_FILE."
        )
    url = _url(name, members.get("url", protocol.url))
    return Provider(name, protocol, url, replace(protocol.limits, **numbers), key_file, dimensions)


def _protocol(name: str, chosen: Any) -> OpenAI:
    if chosen not in PROTOCOLS:
        raise ValueError(f": the protocol of {name} must be {', '.join(PROTOCOLS)}.")
    return COMPATIBLE if chosen == "openai" and name != "openai" else PROTOCOLS[chosen]


def _url(name: str, url: Any) -> str:
    parts = server_url(url)
    if parts is None or parts.username is not None:
        raise ValueError(f": the provider {name} needs a URL without a key in it, as http://10.0.0.7:8080.")
    return str(url).rstrip("/").removesuffix("/v1").rstrip("/")


def _number(name: str, member: str, value: Any) -> Any:
    right = isinstance(value, int | float if member == "timeout_s" else int) and not isinstance(value, bool)
    if not right or not 1 <= value <= _NUMBERS[member]:
        raise ValueError(f": {member} of the provider {name} must be a number from 1 to {_NUMBERS[member]:g}.")
    return value
