"""Servers that tests of the endpoints ask."""

from __future__ import annotations

from tests.support.servers.huggingface import huggingface
from tests.support.servers.llama import llama
from tests.support.servers.ollama import ollama

__all__ = ["huggingface", "llama", "ollama"]
