"""What reranking gives for the processor's time that it takes: nDCG@10 by depth and by order, in three collections.

The folders are collections as bench.retrieval takes them; known items of the standard library come last. Each query is
asked once, by meaning and words, and its first 100 hits are scored; their first 20, 50 and 100 are then ordered by the
reranker alone, or by both orders fused, as a search does it. The time is the processor's in this process, of one
thread. Half an hour of two cores with --sample 30.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from bench import known_items
from bench.corpus import evenly
from bench.report import Result, compare, parser, publish, versions
from bench.retrieval import MODEL, fill
from bench.retrieval_collections import Collection, Document, read_collection
from bench.workers import private_server
from pgembedd.database.connect import connect_unpinned
from pgembedd.evaluation.metrics import TOP, ndcg
from pgembedd.evaluation.questions import Question, key_text
from pgembedd.model import Reranker, Session
from pgembedd.search.options import SearchOptions
from pgembedd.search.passages import READ_CHARACTERS
from pgembedd.search.rerank import fuse
from pgembedd.search.run import search

DEPTHS = (10, 20, 50, 100)
FIRST = "as found"
KNOWN_ITEMS = 1_000


def known() -> Collection:
    """Returns sentences, each with the rest of its documentation string as the one relevant document."""
    pairs = known_items.load_collection().sample(KNOWN_ITEMS)
    documents = [Document(str(n), "", text) for n, text in enumerate(pairs.documents)]
    return Collection("known items", documents, [Question(q, {str(n): 1.0}) for n, q in enumerate(pairs.questions)])


def orders(found: int, scores: Sequence[float]) -> dict[str, list[int]]:
    """Returns the first places of each order of the hits, of which so many are scored."""
    others = list(range(len(scores), found))
    alone = sorted(range(len(scores)), key=lambda place: -scores[place]) + others
    return {"fused": [each.position for each in fuse(scores, found)][:TOP], "alone": alone[:TOP]}


def timed_scores(reranker: Reranker, query: str, texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """Returns the score of each text, and the milliseconds of the processor's time up to it."""
    scores, used_ms = [], []
    began = time.process_time()
    for text in texts:
        scores.append(float(reranker.score(query, [text])[0]))
        used_ms.append((time.process_time() - began) * 1000)
    return scores, used_ms


def run(
    connection: psycopg.Connection, collection: Collection, vectors: list[list[float]], reranker: Reranker
) -> list[Result]:
    """Returns nDCG@10 and milliseconds of every way."""
    quality, used = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for asked, vector in zip(collection.questions, vectors, strict=True):
        wanted: SearchOptions = {"k": max(DEPTHS), "embedding": vector}
        wanted |= {"snippet_length": READ_CHARACTERS, "snippet_marks": ("", "")}
        hits = search(connection, "documents", asked.query, **wanted)
        keys = [key_text(hit.key) for hit in hits]
        scores, used_ms = timed_scores(reranker, asked.query, [hit.snippet or "" for hit in hits])
        quality[FIRST].append(ndcg(keys, asked.relevant))
        for depth in DEPTHS:
            for name, order in orders(len(keys), scores[:depth]).items():
                quality[f"first {depth}, {name}"].append(ndcg([keys[place] for place in order], asked.relevant))
            used[f"first {depth}"].append(used_ms[:depth][-1])
    lines = []
    for metric, values in ((f"nDCG@{TOP}", quality), ("ms", used)):
        means = {f"{collection.name}, {name}": [sum(each) / len(each)] for name, each in values.items()}
        lines += compare("rerank_quality", metric, means, next(iter(means)))
    return lines


def main() -> None:
    """Run it on every folder, and on the known items."""
    options = parser(__doc__)
    options.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="a collection")
    options.add_argument("--model", default=MODEL, help="the model of the vectors")
    options.add_argument("--sample", type=int, metavar="N", help="at most N queries of each collection")
    given = options.parse_args()
    used = versions("pgembedd", "onnxruntime") | {"model": given.model}
    with Session(given.model) as session, Reranker(threads=1) as reranker:
        for collection in (*map(read_collection, given.folders), known()):
            asked = replace(collection, questions=evenly(collection.questions, given.sample or sys.maxsize))
            vectors = session.embed([each.query for each in asked.questions], kind="query").vectors.tolist()
            with private_server() as server, connect_unpinned(server.conninfo(), autocommit=True) as connection:
                fill(connection, server.conninfo(), asked, given.model)
                publish(run(connection, asked, vectors, reranker), used, as_json=given.json)


if __name__ == "__main__":
    main()
