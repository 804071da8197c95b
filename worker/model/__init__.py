"""Text to vectors: models as data, their files, the graph, the session.

Of the rest of the package it imports the errors, and how texts are cut.
"""

from worker.model.catalogue import DefaultModel, ModelInfo, default_model, describe_models, pull
from worker.model.pending import Embeddings, Kind, Pending, Text
from worker.model.registry import REGISTRY, ModelSpec, resolve
from worker.model.session import Session
from worker.model.verify import Check, verify

__all__ = [
    "REGISTRY",
    "Check",
    "DefaultModel",
    "Embeddings",
    "Kind",
    "ModelInfo",
    "ModelSpec",
    "Pending",
    "Session",
    "Text",
    "default_model",
    "describe_models",
    "pull",
    "resolve",
    "verify",
]
