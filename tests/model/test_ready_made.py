"""ONNX files that others made: whatever their inputs are called, masked, of fixed size, quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from pgembedd.errors import ModelError, ModelUnavailableError
from pgembedd.model import Session
from tests.support.tiny_models import tiny_tokenizer

DIMS = 8
TABLE = np.random.default_rng(3).normal(size=(200, DIMS)).astype(np.float32)
FIXED_TOKENS = 12


def write_onnx(
    folder: Path,
    *,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    outputs: tuple[str, ...] = ("last_hidden_state",),
    shape: tuple[str | int, ...] = ("texts", "tokens"),
    kind: int = TensorProto.INT64,
    name: str = "model.onnx",
) -> Path:
    """An encoder that looks tokens up and adds the mean over the mask: padding without it shows.

    `pooler_output` is a wrong answer, `sentence_embedding` the mean over the mask. The inputs are taken to
    be ids, mask and types in this order.
    """
    ids, mask, types = (*inputs, "", "")[:3]
    nodes = [
        helper.make_node("Gather", ["table", ids], ["words"]),
        helper.make_node("Cast", [mask or ids], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["column", "middle"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Add", ["words", "mean"], ["tokens_out"]),
        helper.make_node("Squeeze", ["mean", "middle"], ["sentence"]),
        helper.make_node("Neg", ["sentence"], ["wrong"]),
    ]
    if types:
        nodes += [
            helper.make_node("Cast", [types], ["types"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["types", "last"], ["types_column"]),
            helper.make_node("Add", ["tokens_out", "types_column"], ["typed"]),
        ]
    answers = {"pooler_output": "wrong", "sentence_embedding": "sentence"}
    for output in outputs:
        hidden = answers.get(output, "typed" if types else "tokens_out")
        nodes.append(helper.make_node("Identity", [hidden], [output]))
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(each, kind, shape) for each in reversed(inputs)],
        [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs],
        [
            numpy_helper.from_array(TABLE, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / name)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder / name


def expected(session: Session, text: str) -> np.ndarray[Any, Any]:
    """The text's vector computed by hand."""
    words = TABLE[session._encode(text, "document").ids].astype(np.float64)
    vector = (words + words.mean(axis=0)).mean(axis=0)
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"inputs": ("Input_IDs", "Attention_Mask", "Token_Type_IDs")},
        {"inputs": ("input_ids", "attention_mask")},
        {"inputs": ("input", "input_mask", "segment_ids")},
        {"kind": TensorProto.INT32},
        {"outputs": ("pooler_output", "last_hidden_state")},
        {"outputs": ("some_name",)},
        {"outputs": ("pooler_output", "sentence_embedding")},
        {"shape": (1, "tokens")},
        {"shape": (1, FIXED_TOKENS)},
        {"shape": (3, FIXED_TOKENS)},
        {"name": "onnx/model.onnx"},
    ],
    ids=str,
)
def test_any_encoder_file_gives_the_same_vectors(tmp_path: Path, options: dict[str, Any]) -> None:
    write_onnx(tmp_path, **options)
    with Session("mine", model_dir=tmp_path) as session:
        texts = ["", "a", "the fox", "the fox", "the quick"]
        vectors = session.embed(texts).vectors
        assert session.dims == DIMS
        for text, vector in zip(texts, vectors, strict=True):
            assert np.abs(vector - expected(session, text)).max() < 1e-6


def test_the_path_of_the_file_will_do(tmp_path: Path) -> None:
    path = write_onnx(tmp_path, name="other name.onnx")
    with Session(str(path)) as session:
        assert session.name == "other name"
        assert session.run("fox").shape == (DIMS,)
    with Session("mine", model_dir=path) as session:
        assert session.name == "mine"
        assert session.run("fox").shape == (DIMS,)


def test_a_fixed_length_is_the_limit(tmp_path: Path) -> None:
    write_onnx(tmp_path, shape=(1, FIXED_TOKENS))
    with Session("mine", model_dir=tmp_path) as session:
        assert session.max_tokens == FIXED_TOKENS
        assert session.embed(["a " * 30]).dropped.tolist() == [30 - FIXED_TOKENS + 2]


def test_token_vectors_are_those_of_real_tokens_only(tmp_path: Path) -> None:
    write_onnx(tmp_path, shape=(1, FIXED_TOKENS))
    with Session("mine", model_dir=tmp_path) as session:
        assert session.run("a b", mean_pool=False).shape == (4, DIMS)


def test_a_model_that_pools_by_itself_has_no_token_vectors(tmp_path: Path) -> None:
    write_onnx(tmp_path, outputs=("sentence_embedding",))
    with Session("mine", model_dir=tmp_path) as session, pytest.raises(ModelError, match="no token vectors"):
        session.run("a", mean_pool=False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"inputs": ("input_ids", "attention_mask", "pixel_values")}, "'pixel_values', which is none"),
        ({"outputs": ("one", "two")}, "outputs one, two, none of which"),
    ],
)
def test_what_is_no_text_encoder_is_refused(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    write_onnx(tmp_path, **options)
    with pytest.raises(ModelError, match=sentence):
        Session("mine", model_dir=tmp_path)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    write_onnx(tmp_path).write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded by onnxruntime"):
        Session("mine", model_dir=tmp_path)


def test_without_a_tokenizer_it_says_so(tmp_path: Path) -> None:
    write_onnx(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        Session("mine", model_dir=tmp_path)


@pytest.fixture(scope="module")
def e5() -> Session:
    """e5-small-v2 as a real ready-made file, quantised by others; skipped where it cannot be fetched."""
    try:
        return Session("e5-small-v2-int8", notify=print)
    except ModelUnavailableError as error:
        pytest.skip(str(error))


def test_prefixes_are_those_the_model_was_trained_with(e5: Session) -> None:
    text = "how are aircraft wings heated"
    query, document = (e5.embed([text], kind=kind).vectors[0] for kind in ("query", "document"))
    assert np.abs(query - document).max() > 1e-3
    assert np.array_equal(document, e5.run(text))
    plain, prefixed = (e5._tokenizer.encode(each).ids for each in (text, f"query: {text}"))
    assert e5._encode(text, "query").ids == prefixed
    assert len(prefixed) == len(plain) + 2
    assert e5._encode(tuple(plain[1:-1]), "query").ids == prefixed, "token ids get the prefix, too"


def test_a_quantised_file_gives_the_same_vector_in_any_company(e5: Session) -> None:
    texts = ["a wing", "a fish", "a much longer text about the friction of air at supersonic speed", "soup"]
    together = e5.embed(texts).vectors
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(vector, e5.run(text))


def test_the_real_ready_made_model_finds_what_is_meant(e5: Session) -> None:
    documents = ["Boil the onions in salted water.", "Friction of the air heats the skin of the wing."]
    query = e5.embed(["aerodynamic heating"], kind="query").vectors[0]
    scores = e5.embed(documents).vectors @ query
    assert scores[1] > scores[0] + 0.02
