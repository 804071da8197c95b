"""`Session(name)`: an embedding model in this process, or a language model on a server."""

import os
from pathlib import Path
from typing import Any, overload

from pgembedd.errors import ConfigurationError
from pgembedd.language import LanguageSession
from pgembedd.language.endpoint import HOST_VARIABLE, endpoint_from_environment
from pgembedd.model import REGISTRY
from pgembedd.model import Session as EmbeddingSession
from pgembedd.model.specs import DEFAULT_MODEL, find

LANGUAGE_OPTIONS = frozenset({"host", "key", "mode", "timeout"})


@overload
def Session(name: str = DEFAULT_MODEL, *, model_dir: Path | str, **options: Any) -> EmbeddingSession: ...
@overload
def Session(name: str = DEFAULT_MODEL, **options: Any) -> Any: ...
def Session(name: str = DEFAULT_MODEL, **options: Any) -> Any:  # noqa: N802  named as in the Edge Functions API
    """Returns a session: of the embedding model of that name or at that path, else of a language model.

    `options` are those of EmbeddingSession for an embedding model, and of LanguageSession (`host`, `key`, `mode`,
    `timeout`) for a language model. ConfigurationError for a name that is neither.
    """
    _check_name(name)
    if isinstance(options.get("model_dir"), str):
        options["model_dir"] = Path(options["model_dir"])
    of_language = LANGUAGE_OPTIONS & options.keys()
    if find(name) is not None:
        if of_language:
            raise ConfigurationError(
                f"{name} is an embedding model, which takes no {min(of_language)}: that is of language models."
            )
        return EmbeddingSession(name, **options)
    if of_language:
        return LanguageSession(name, **options)
    if options or os.path.exists(name):  # noqa: PTH110  which a name that is too long for a path does not fail
        return EmbeddingSession(name, **options)
    if endpoint_from_environment() is None:
        raise ConfigurationError(
            f"There is no embedding model {name!r}, and no server of language models is named: choose one of "
            f"{', '.join(REGISTRY)} or the path of a model's files, or set {HOST_VARIABLE} to the server's URL, "
            "as http://127.0.0.1:11434."
        )
    return LanguageSession(name)


def _check_name(name: object) -> None:
    """Raises ConfigurationError for what is no name."""
    if not isinstance(name, str):
        fault = f"is a text, as 'gte-small', and not {type(name).__name__}"
    elif not name.strip():
        fault = "is empty"
    elif not name.isprintable():
        fault = "holds a character that no name has, such as the end of a line"
    else:
        return
    raise ConfigurationError(
        f"The name of a model {fault}: choose one of {', '.join(REGISTRY)}, the path of a model's files, or a language "
        "model's name."
    )
