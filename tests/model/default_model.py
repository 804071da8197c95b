"""The default model with its own weights: does pgembedd compute with them what their publisher's file computes?

`make test-default-model` runs it. The weights are those of PGEMBEDD_MODEL_DIR, of the cache, or of the Hub; what they
are compared with is `onnx/model.onnx` of the same place, which the publisher made with other code. Exits with one
sentence where either cannot be had, and with 1 where a check fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime as ort
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.known_items import Collection, load_collection
from bench.quality import Quality, measure
from pgembedd.errors import ModelError
from pgembedd.model import Session, verify
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.known_outputs import Check
from pgembedd.model.model_spec import TOKENIZER, HubSource, ModelSpec
from pgembedd.model.specs import GTE_SMALL

Array = NDArray[np.float64]
Reference = Callable[[list[int]], Array]
"""Computes the vector of a text's token ids, (dims,), norm 1."""

PUBLISHED = "onnx/model.onnx"
TOLERANCE = 1e-5
SAMPLE = 500  # questions, and as many documents
BELOW_STAND_IN = 0.05  # of nDCG@10: the default model is the larger one
TEXTS = (
    "a",
    "Luke, I am your father",
    "That is a very happy person",
    "select id, count(*) from orders where total > 9.99 group by 1;",
    "La forêt était déjà plongée dans l'obscurité. 今天天气很好。",
    " ".join(f"Sentence {number} of a long text." for number in range(40)),
)
LONG = "The quick brown fox jumps over the lazy dog. " * 200
"""More tokens than any model here reads."""


def main() -> None:
    """Runs every check; the exit code is 0 if all hold."""
    folder = Path(given) if (given := os.environ.get("PGEMBEDD_MODEL_DIR")) else None
    with ExitStack() as opened:
        try:
            fp32, int8, stand_in = (
                opened.enter_context(session)
                for session in (
                    Session(model_dir=folder, notify=_say),
                    Session(model_dir=folder, precision="int8", notify=_say),
                    Session(GTE_SMALL.stand_in, notify=_say),
                )
            )
            tokenizer, reference = _tokenizer(folder), onnx_reference(published(GTE_SMALL, folder))
        except (ModelError, OSError) as error:
            sys.exit(f"{GTE_SMALL.name} was not checked: {str(error).splitlines()[0]}")
        checks = [*same_as(reference, fp32, tokenizer), *cut(fp32), *verify(fp32)]
        checks += retrieval(fp32, int8, stand_in, load_collection().sample(SAMPLE))
    for check in checks:
        print("ok  " if check.ok else "BAD ", f"{check.name}: {check.got} (expected {check.expected})")
    if not all(check.ok for check in checks):
        sys.exit(f"{GTE_SMALL.name} does not compute what its publisher's file does: do not release this.")
    print(f"{GTE_SMALL.name} ran with its own weights. docs/reference/models.md may say so under Verified.")


def published(spec: ModelSpec, folder: Path | None) -> Path:
    """Returns the publisher's ONNX file, out of the folder or from the Hub. OSError where it cannot be had."""
    if folder is not None:
        if not (folder / PUBLISHED).is_file():
            raise FileNotFoundError(f"{folder} has no {PUBLISHED}, the publisher's file to compare with.")
        return folder / PUBLISHED
    assert isinstance(spec.source, HubSource)
    return Path(hf_hub_download(spec.source.repository, PUBLISHED, revision=spec.source.revision))


def onnx_reference(path: Path) -> Reference:
    """Returns the model in an ONNX file, mean pooled and normalised in double precision, by no code of pgembedd."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}

    def vector(ids: list[int]) -> Array:
        row = np.array([ids], np.int64)
        given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        (hidden,) = session.run(["last_hidden_state"], {name: given[name] for name in names})
        mean: Array = hidden[0].astype(np.float64).mean(axis=0)
        unit: Array = mean / np.linalg.norm(mean)
        return unit

    return vector


def same_as(reference: Reference, session: Session, tokenizer: Tokenizer) -> Iterator[Check]:
    """Compares vectors with those of the reference, the long text's at the model's limit."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(session.spec.max_tokens)
    for text in (*TEXTS, LONG):
        ids = tokenizer.encode(text).ids
        off = float(np.abs(session.run(text).astype(np.float64) - reference(ids)).max())
        name = f"vector of {text[:24]!r}, {len(ids)} tokens, and the publisher's file"
        yield Check(name, f"at most {TOLERANCE:g} apart", f"{off:.1e} apart", off <= TOLERANCE)


def cut(session: Session) -> Iterator[Check]:
    """Checks that a text is read up to the model's limit, and no further."""
    most = session.spec.max_tokens
    words = ["fox"] * (most + 100)
    one, inside, outside = (session.run(" ".join(each)) for each in (words, _with(words, most - 3), _with(words, most)))
    total, kept = session.count_tokens(" ".join(words))
    yield Check("tokens that are read of a long text", f"{most} of {most + 102}", f"{kept} of {total}", kept == most)
    moved, unmoved = float(np.abs(one - inside).max()), float(np.abs(one - outside).max())
    yield Check(f"token {most - 1} counts", "another vector", f"{moved:.1e} apart", moved > TOLERANCE)
    yield Check(f"token {most + 2} does not", "the same vector", f"{unmoved:.1e} apart", unmoved == 0.0)


def retrieval(fp32: Session, int8: Session, stand_in: Session, collection: Collection) -> Iterator[Check]:
    """Searches the demo's documents by their first sentences, and applies the gate of int8."""
    quality = measure(fp32, int8, collection)
    least = measure(stand_in, stand_in, collection).fp32["nDCG@10"] - BELOW_STAND_IN
    found = quality.fp32["nDCG@10"]
    yield Check("nDCG@10 on the demo's rows", f"at least {least:.3f}", f"{found:.3f}", found >= least)
    yield from gate(quality)


def gate(quality: Quality) -> Iterator[Check]:
    """Returns the conditions of int8's gate (bench/quality.py)."""
    for sentence, holds in quality.gates():
        figure, _, bound = sentence.rpartition(", ")
        name, _, got = figure.rpartition(": ")
        yield Check(name, bound, got, holds)


def _with(words: list[str], position: int) -> list[str]:
    return [*words[:position], "mortgage", *words[position + 1 :]]


def _tokenizer(folder: Path | None) -> Tokenizer:
    return Tokenizer.from_file(str(folder / TOKENIZER if folder else ModelFiles(GTE_SMALL).obtain(TOKENIZER)))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
