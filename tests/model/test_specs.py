"""Models as data: names, digests, and the fingerprint that decides what may be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.model.model_spec import TOKENIZER, ModelFile
from pgembedd.model.specs import ALL_MINILM_L6_V2, GTE_SMALL, REGISTRY, RERANKERS, resolve


@pytest.mark.parametrize("spec", [*REGISTRY.values(), *RERANKERS.values()], ids=[*REGISTRY, *RERANKERS])
def test_every_model_pins_all_its_files(spec: Any) -> None:
    assert all(len(file.sha256) == 64 and file.size_bytes > 0 for file in spec.files)
    assert spec.file(TOKENIZER)
    assert spec.licence in {"MIT", "Apache-2.0"}


@pytest.mark.parametrize("name", ["gte-small", "GTE-Small", "thenlper/gte-small", "Supabase/gte-small"])
def test_names_and_aliases(name: str) -> None:
    assert resolve(name) is GTE_SMALL


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'nope'.*gte-small.*all-MiniLM-L6-v2"):
        resolve("nope")


def test_fingerprints_are_what_is_stored_in_databases() -> None:
    """A change here makes every stored vector unusable: it must be meant."""
    assert GTE_SMALL.fingerprint == "gte-small@ba35b60eaf8a7273"
    assert ALL_MINILM_L6_V2.fingerprint == "all-MiniLM-L6-v2@0709c75b8cd18ea8"


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 128},
        {"pooling": "cls"},
        {"query_prefix": "query: "},
        {"document_prefix": "passage: "},
        {"precision": "int8"},
        {"files": (*GTE_SMALL.files[:2], ModelFile("model.safetensors", "0" * 64, 1))},
        {"files": (ModelFile("config.json", "0" * 64, 1), *GTE_SMALL.files[1:])},
        {"files": (GTE_SMALL.files[0], ModelFile("tokenizer.json", "0" * 64, 1), GTE_SMALL.files[2])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_a_vector_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert replace(GTE_SMALL, **change).fingerprint != GTE_SMALL.fingerprint


def test_what_decides_no_vector_leaves_the_fingerprint_alone() -> None:
    moved = replace(GTE_SMALL, source=ALL_MINILM_L6_V2.source, licence="?", aliases=())
    assert moved.fingerprint == GTE_SMALL.fingerprint
