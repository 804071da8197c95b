"""Text to vectors, and pairs of texts to scores: models as data, their files, the graph, the session."""

from pgembedd.model.catalogue import DefaultModel, default_model, is_cached, pull
from pgembedd.model.files.model_files import FileOptions
from pgembedd.model.futures import Embeddings, Kind, RunFutures, Text
from pgembedd.model.known_outputs import Check, verify
from pgembedd.model.model_spec import ModelSpec
from pgembedd.model.reranker import Reranker, Scores
from pgembedd.model.session import Session
from pgembedd.model.specs import REGISTRY, RERANKERS, built_in, resolve

__all__ = [
    "REGISTRY",
    "RERANKERS",
    "Check",
    "DefaultModel",
    "Embeddings",
    "FileOptions",
    "Kind",
    "ModelSpec",
    "Reranker",
    "RunFutures",
    "Scores",
    "Session",
    "Text",
    "built_in",
    "default_model",
    "is_cached",
    "pull",
    "resolve",
    "verify",
]
