"""The cost of int8 in quality: known-item retrieval (`bench.known_items`) at fp32 and int8, and the cosines between.

`--precision fp16` measures a GPU instead, and `--on-cpu` its graph on onnxruntime's CPU provider. A model passes the
gate when a person who searches could not tell the two apart: nDCG@10 at most 0.5 % lower, and every document's vector
close to its own. --model also takes a folder of your own. A minute or two on two idle cores.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.gpu import find_device
from bench.known_items import Collection, Matrix, Scores, load_collection, ranks, scores
from bench.page.targets import MEAN_COSINE, NDCG_SHARE, WORST_COSINE
from bench.report import Result, averaged, compare, parser, publish, versions
from pgembedd.model import Embeddings, Kind, Session

MODEL = "all-MiniLM-L6-v2"
SHOWN = 24  # characters

ODD_TEXTS = (
    "",
    "!",
    "a",
    "7",
    "🙂",
    "🚀🔥🙈 💯",
    "0123456789",
    "3.14159 2,718 -1e-9 0xFF",
    "OK",
    "THE QUICK BROWN FOX",
    "for (i = 0; i < n; i++) { sum += a[i]; }",
    "select id, count(*) from orders where total > 9.99 group by 1;",
    '{"id": 17, "tags": ["a", null]}',
    "Die Straße führt über die Brücke.",
    "La forêt était déjà plongée dans l'obscurité.",
    "今日はとても良い天気です。",
    "今天天气很好。",
    "오늘은 날씨가 좋습니다.",
    "الطقس جميل اليوم",
    "मौसम आज अच्छा है",
    "Сегодня хорошая погода.",
    "http://example.com/a/very-long_path?x=1&y=%20#end",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk",
    "the " * 600,
)
"""Texts that calibration and averages miss: a token or two, scripts, code, one word over and over."""


class Embedder(Protocol):
    """The part of a session that is measured."""

    def embed(self, texts: Sequence[str], *, kind: Kind = "document") -> Embeddings:
        """Vectors in the order of the texts."""


@dataclass(frozen=True)
class Quality:
    """Retrieval at fp32 and another precision, and the cosines between both vectors of each text."""

    fp32: Scores
    other: Scores
    documents: Matrix
    questions: Matrix
    odd: Matrix
    precision: str = "int8"

    def gates(self) -> Iterator[tuple[str, bool]]:
        """Each condition of the gate with its figure, and whether it holds."""
        share = self.other["nDCG@10"] / self.fp32["nDCG@10"] if self.fp32["nDCG@10"] else 1.0
        figures = (
            (f"nDCG@10, {self.precision} against fp32", share, NDCG_SHARE),
            ("mean cosine, documents", float(self.documents.mean()), MEAN_COSINE),
            ("worst cosine, documents", float(self.documents.min()), WORST_COSINE),
        )
        for name, figure, least in figures:
            yield f"{name}: {figure:.5f}, at least {least}", figure >= least


def measure(fp32: Embedder, compared: Embedder, collection: Collection, precision: str = "int8") -> Quality:
    """Embed the collection with both, search it exactly with both, and compare."""
    one, other = _embed_all(fp32, collection), _embed_all(compared, collection)
    return Quality(
        fp32=scores(ranks(one[0], one[1])),
        other=scores(ranks(other[0], other[1])),
        questions=cosines(one[0], other[0]),
        documents=cosines(one[1], other[1]),
        odd=cosines(one[2], other[2]),
        precision=precision,
    )


def _embed_all(embedder: Embedder, collection: Collection) -> tuple[Matrix, Matrix, Matrix]:
    """Vectors of the questions, the documents and the odd texts, in double precision."""
    parts: tuple[tuple[Sequence[str], Kind], ...] = (
        (collection.questions, "query"),
        (collection.documents, "document"),
        (ODD_TEXTS, "document"),
    )
    questions, documents, odd = (embedder.embed(texts, kind=kind).vectors.astype(np.float64) for texts, kind in parts)
    return questions, documents, odd


def cosines(some: Matrix, others: Matrix) -> Matrix:
    """Row by row, (n, dims) twice to (n,); norms need not be 1."""
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return np.asarray(np.einsum("nd,nd->n", some, others) / norms)


def results(quality: Quality) -> list[Result]:
    """Retrieval, then the cosines, those of odd texts one by one with the least alike first."""
    found: list[Result] = []
    for name, value in quality.fp32.items():
        values = {f"{name}, fp32": [value], f"{name}, {quality.precision}": [quality.other[name]]}
        found += compare("quality", "", values, f"{name}, fp32")
    for texts in ("documents", "questions"):
        each: list[float] = getattr(quality, texts).tolist()
        found.append(averaged("quality", "cosine", f"{texts}, mean", each))
        found += compare("quality", "cosine", {f"{texts}, worst": [min(each)]})
    odd = sorted(zip(quality.odd.tolist(), ODD_TEXTS, strict=True))
    return found + compare("quality", "cosine", {f"odd text {text[:SHOWN]!r}": [cosine] for cosine, text in odd})


def main() -> None:
    """Run it; the gate's verdict goes to standard error."""
    options = parser(__doc__)
    options.add_argument("--sample", type=int, metavar="N", help="N questions and their documents; whole without it")
    options.add_argument("--model", default=MODEL, metavar="NAME", help="a model's name or its folder")
    options.add_argument("--precision", choices=("int8", "fp16"), default="int8", help="what is compared with fp32")
    options.add_argument("--on-cpu", action="store_true", help="fp16 on the CPU, which computes in fp32 in between")
    given = options.parse_args()
    on_gpu, precision = given.precision == "fp16", given.precision
    if on_gpu:
        find_device(on_cpu=given.on_cpu)
    collection = load_collection()
    if given.sample:
        collection = collection.sample(given.sample)
    with (
        Session(given.model) as fp32,
        Session(given.model, precision=precision, device="cuda" if on_gpu else "cpu") as other,
    ):
        if fp32.fingerprint == other.fingerprint:
            sys.exit(f"{fp32.name} has its one precision only; there is nothing to compare.")
        quality = measure(fp32, other, collection, precision)
        used = versions("pgembedd", "onnxruntime") | {"model": fp32.name}
    publish(results(quality), used, as_json=given.json)
    print(f"{len(collection.questions)} questions, as many documents, exact search.", file=sys.stderr)
    for sentence, holds in quality.gates():
        print("ok  " if holds else "BAD ", sentence, file=sys.stderr)


if __name__ == "__main__":
    main()
