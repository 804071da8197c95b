"""The names of our models in other projects."""

import re

from pgembedd.model.specs import ModelSpec, find

# The name in Ollama's library; the weights are the same, in half precision.
OLLAMA = {"all-minilm": "all-MiniLM-L6-v2"}
OLLAMA_TAGS = ("latest", "l6-v2", "22m", "22m-l6-v2-fp16", "l6-v2-fp16")
PROVIDERS = ("huggingface/", "ollama/", "sentence_transformers/", "openai/")


def known_model(name: str) -> ModelSpec | None:
    """Returns our model that makes the same vectors as the named one, or None.

    Only models without prefixes: vectors made without the prefixes of a model are not its vectors.
    """
    short = name.casefold()
    for provider in PROVIDERS:
        short = short.removeprefix(provider)
    base, _, tag = short.partition(":")
    if base in OLLAMA and (not tag or tag in OLLAMA_TAGS):
        base = OLLAMA[base]
    elif tag:
        return None
    spec = find(base)
    return spec if spec and not spec.document_prefix and not spec.ready_made else None


def pipeline_name(*parts: str) -> str:
    """Returns a valid pipeline name; each run of invalid characters becomes an underscore."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", ".".join(parts)).lstrip(".-")
    return name[:63] or "imported"


def name_with_model(name: str, model: str, room: int = 63) -> str:
    """Returns a name for a new column or table beside `name`, whose vectors are of `model`."""
    ending = "_" + re.sub(r"[^a-z0-9]+", "_", model.casefold())
    kept = name.encode()[: room - len(ending)].decode(errors="ignore")  # Postgres cuts at 63 bytes
    return kept + ending
