"""Text to vectors: models as data, their files, the graph, the session.

Of the rest of the package it imports the errors, and how texts are cut.
"""

from worker.model.catalogue import DefaultModel, ModelInfo, default_model, describe_models, pull
from worker.model.registry import REGISTRY, ModelSpec, resolve
from worker.model.session import Embeddings, Pending, Session
from worker.model.verify import Check, verify

__all__ = [
    "REGISTRY",
    "Check",
    "DefaultModel",
    "Embeddings",
    "ModelInfo",
    "ModelSpec",
    "Pending",
    "Session",
    "default_model",
    "describe_models",
    "pull",
    "resolve",
    "verify",
]
