"""Checkpoints of BERT's family become graphs that compute the same; others are refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pgembedd.errors import ModelError
from pgembedd.model import Session
from tests.support.reference_bert import ReferenceBert
from tests.support.tiny_models import write_tiny_model

TEXT = "the quick brown fox"


def worst_difference(folder: Path, cache: Path) -> float:
    """How far the graph's token vectors are from the plain forward pass, at several lengths."""
    reference = ReferenceBert(folder)
    with Session("tiny", model_dir=folder, cache_dir=cache, threads=1) as session:
        texts = ["", "a", TEXT, "x y z " * 40]
        return max(
            float(np.abs(got - reference.hidden_states(session._encode(text, "document").ids)).max())
            for text in texts
            for got in [session.run(text, mean_pool=False, normalize=False)]
        )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_hidden_layers": 1, "num_attention_heads": 1},
        {"hidden_size": 24, "num_attention_heads": 12, "intermediate_size": 17},
        {"layer_norm_eps": 0.1, "type_vocab_size": 1, "max_position_embeddings": 40},
        {"num_hidden_layers": 12, "num_attention_heads": 8},
    ],
    ids=["as it is", "one layer and head", "odd sizes", "epsilon", "twelve layers"],
)
def test_sizes_come_from_the_config(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = write_tiny_model(tmp_path / "model", **config)
    assert worst_difference(folder, tmp_path / "cache") < 1e-5


@pytest.mark.parametrize("prefix", ["", "bert.", "0.auto_model."])
def test_tensor_names_may_have_a_prefix(tmp_path: Path, prefix: str) -> None:
    plain = write_tiny_model(tmp_path / "plain")
    prefixed = write_tiny_model(tmp_path / "prefixed", prefix=prefix)
    cache = tmp_path / "cache"
    with Session("a", model_dir=plain, cache_dir=cache) as a, Session("b", model_dir=prefixed, cache_dir=cache) as b:
        assert np.array_equal(a.run(TEXT), b.run(TEXT))


def test_half_precision_on_disk_is_computed_in_single(tmp_path: Path) -> None:
    """As gte-small's file is: the numbers in it are the model, and nothing is rounded beyond them."""
    folder = write_tiny_model(tmp_path / "half", dtype=np.float16)
    assert worst_difference(folder, tmp_path / "cache") < 1e-5


@pytest.mark.slow
def test_the_real_model_cast_to_half_precision(tmp_path: Path, minilm: Session, minilm_folder: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    tensors = load_file(minilm_folder / "model.safetensors")
    save_file({name: t.astype(np.float16) for name, t in tensors.items()}, folder / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((minilm_folder / name).read_bytes())
    expected = ReferenceBert(folder)
    with Session("half", model_dir=folder, cache_dir=tmp_path / "cache") as session:
        ids = session._encode(TEXT, "document").ids
        assert np.abs(session.run(TEXT) - expected.embed(ids)).max() < 1e-5
        assert session.run(TEXT) @ minilm.run(TEXT) == pytest.approx(1, abs=1e-4)
        assert session.fingerprint.split("@")[1] != minilm.fingerprint.split("@")[1]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"hidden_act": "relu"}, r"hidden_act = 'relu', but only 'gelu'"),
        ({"model_type": "roberta"}, r"model_type = 'roberta', but only 'bert'"),
        ({"position_embedding_type": "relative_key"}, r"position_embedding_type = 'relative_key'"),
        ({"num_attention_heads": 5}, r"among 5 heads"),
        ({"num_hidden_layers": 4}, r"lacks the tensor encoder\.layer\.3\."),
        ({"intermediate_size": 81}, r"of shape \(80, 32\) where config\.json asks for \(81, 32\)"),
        ({"hidden_size": None}, r"None for hidden_size"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_built_is_refused(tiny_folder: Path, config: dict[str, Any], sentence: str) -> None:
    path = tiny_folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    with pytest.raises(ModelError, match=sentence):
        Session("tiny", model_dir=tiny_folder, cache_dir=tiny_folder / "cache")


def test_a_damaged_checkpoint_is_one_sentence(tiny_folder: Path) -> None:
    path = tiny_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.safetensors is not a readable safetensors file"):
        Session("tiny", model_dir=tiny_folder, cache_dir=tiny_folder / "cache")


def test_a_file_without_bert_in_it_is_one_sentence(tiny_folder: Path) -> None:
    save_file({"something": np.zeros(3, np.float32)}, tiny_folder / "model.safetensors")
    with pytest.raises(ModelError, match="is no BERT checkpoint"):
        Session("tiny", model_dir=tiny_folder, cache_dir=tiny_folder / "cache")


def test_weights_that_are_no_numbers_are_noticed(tiny_folder: Path) -> None:
    path = tiny_folder / "model.safetensors"
    tensors = load_file(path)
    tensors["embeddings.LayerNorm.bias"][0] = np.inf
    save_file(tensors, path)
    with (
        Session("tiny", model_dir=tiny_folder, cache_dir=tiny_folder / "cache") as session,
        pytest.raises(ModelError, match="not finite"),
    ):
        session.embed([TEXT])
