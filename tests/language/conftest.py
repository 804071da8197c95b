"""Servers that tests of language models ask: a real one, and stand-ins for those that cannot be had."""

from __future__ import annotations

import pytest

from pgembedd import Session
from pgembedd.language import LanguageSession
from tests.support.servers.huggingface import huggingface
from tests.support.servers.llama import llama
from tests.support.servers.ollama import StandInOllama, ollama

__all__ = ["huggingface", "llama", "ollama"]


@pytest.fixture(autouse=True)
def no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ("PGEMBEDD_LANGUAGE_HOST", "AI_INFERENCE_API_HOST")
    for name in (*hosts, "PGEMBEDD_LANGUAGE_KEY_FILE", "HUGGING_FACE_ACCESS_TOKEN", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def session(ollama: StandInOllama, monkeypatch: pytest.MonkeyPatch) -> LanguageSession:
    monkeypatch.setenv("PGEMBEDD_LANGUAGE_HOST", ollama.url)
    made: LanguageSession = Session("mistral")
    return made
