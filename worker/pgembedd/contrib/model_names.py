"""Models by name: ours in other projects, and ours or a provider's that made existing vectors."""

import re

from pgembedd.errors import ConfigurationError
from pgembedd.model.model_spec import ModelSpec
from pgembedd.model.providers.configured import split_model
from pgembedd.model.specs import REGISTRY, RERANKERS, find

OPENAIS = "openai:text-embedding-3-small"
PROVIDERS = ("huggingface/", "ollama/", "sentence_transformers/", "openai/")


def model_named(name: str) -> str:
    """Returns the name of a model or alias as pipelines have it; ConfigurationError for one that makes no vectors."""
    if (provided := split_model(name)) is not None:
        return ":".join(provided)
    spec = find(name)
    if spec is None or spec.name in RERANKERS:
        raise ConfigurationError(
            f"There is no model named {name!r} that makes vectors; there are {', '.join(REGISTRY)}, and those of "
            f"providers with the provider in front, as {OPENAIS}."
        )
    return spec.name


def known_model(name: str) -> ModelSpec | None:
    """Returns our model that makes the same vectors as the named one, or None.

    Only models without prefixes: vectors made without the prefixes of a model are not its vectors.
    """
    short = name.casefold()
    for provider in PROVIDERS:
        short = short.removeprefix(provider)
    for spec in REGISTRY.values():
        if short in spec.names or short in spec.ollama_names:
            return None if spec.document_prefix or spec.ready_made else spec
    return None


def pipeline_name(*parts: str) -> str:
    """Returns a valid pipeline name; each run of invalid characters becomes an underscore."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", ".".join(parts)).lstrip(".-")
    return name[:63] or "imported"


def name_with_model(name: str, model: str, room: int = 63) -> str:
    """Returns a name for a new column or table next to `name`, whose vectors are of `model`."""
    ending = "_" + re.sub(r"[^a-z0-9]+", "_", model.casefold())
    kept = name.encode()[: room - len(ending)].decode(errors="ignore")  # Postgres cuts at 63 bytes
    return kept + ending
