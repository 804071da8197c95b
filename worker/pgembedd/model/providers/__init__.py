"""Providers of embeddings: models on servers, behind the same interface as a model in this process."""
