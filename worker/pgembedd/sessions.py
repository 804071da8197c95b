"""`Session(name)`: an embedding model in this process, or a language model on a server."""

from pathlib import Path
from typing import Any, Literal, overload

from pgembedd.errors import ConfigurationError
from pgembedd.language import LanguageSession
from pgembedd.language.endpoint import HOST_VARIABLE, endpoint_from_environment
from pgembedd.model import REGISTRY
from pgembedd.model import Session as EmbeddingSession
from pgembedd.model.specs import find

LANGUAGE_OPTIONS = frozenset({"host", "key", "mode", "timeout"})

Registered = Literal["gte-small", "all-MiniLM-L6-v2", "e5-small-v2-int8"]


@overload
def Session(name: Registered = "gte-small", **options: Any) -> EmbeddingSession: ...
@overload
def Session(name: str, *, model_dir: Path, **options: Any) -> EmbeddingSession: ...
@overload
def Session(name: str, **options: Any) -> Any: ...
def Session(name: str = "gte-small", **options: Any) -> Any:  # noqa: N802  named as in the Edge Functions API
    """Returns a session: of the embedding model of that name or at that path, else of a language model.

    `options` are those of `pgembedd.model.Session` for an embedding model, and of
    `pgembedd.language.LanguageSession` (`host`, `key`, `mode`, `timeout`) for a language model. ConfigurationError
    for a name that is neither.
    """
    of_language = LANGUAGE_OPTIONS & options.keys()
    if find(name) is not None:
        if of_language:
            raise ConfigurationError(
                f"{name} is an embedding model, which takes no {min(of_language)}: that is of language models."
            )
        return EmbeddingSession(name, **options)
    if of_language:
        return LanguageSession(name, **options)
    if options or Path(name).exists():
        return EmbeddingSession(name, **options)
    if endpoint_from_environment() is None:
        raise ConfigurationError(
            f"There is no embedding model {name!r}, and no server of language models is named: choose one of "
            f"{', '.join(REGISTRY)} or the path of a model's files, or set {HOST_VARIABLE} to the server's URL, "
            "as http://127.0.0.1:11434."
        )
    return LanguageSession(name)
