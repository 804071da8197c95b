"""Retrieval quality: each mode of pgembedd's search next to the peers' SQL, on collections that you bring.

A folder for each collection (bench/retrieval_collections.py says in which layouts). Its documents go into a table of a
private Postgres, a worker embeds them, and every query is asked each way: nDCG@10, recall@10 and MRR@10 as
`pgembedd eval` has them. With --rerank also with the first 20 hits reranked, some seconds a query.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg

from bench.corpus import evenly
from bench.report import Result, compare, parser, publish, versions
from bench.retrieval_collections import Collection, read_collection
from bench.retrieval_peers import PEERS
from bench.workers import fleet, private_server
from pgembedd.database.connect import connect_unpinned
from pgembedd.evaluation.evaluate import Measured, available_modes, evaluate, means, measure
from pgembedd.model import Reranker, Session

MODEL = "all-MiniLM-L6-v2"
PORTION = 500  # documents awaited at a time

TABLE = """
    create table documents (
        id text primary key, title text, body text,
        fts tsvector generated always as
            (to_tsvector('english', coalesce(title, '') || ' ' || coalesce(body, ''))) stored)
"""


def fill(connection: psycopg.Connection, conninfo: str, collection: Collection, model: str) -> None:
    """Makes the table and its pipeline, and has a worker embed all documents."""
    connection.execute(TABLE)
    connection.execute(
        "select pgembedd.create_pipeline('documents', 'documents', array['title', 'body'], model => %s)", (model,)
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into documents values (%s, nullif(%s, ''), %s) on conflict do nothing",
            [(each.id, each.title, each.text) for each in collection.documents],
        )
    connection.execute("create index on documents using gin (fts)")
    with fleet(conninfo) as workers:
        while waiting := _waiting(connection):
            workers.await_done(workers.done + min(PORTION, waiting))
    connection.execute("vacuum analyze")
    connection.execute(
        "select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p"
    )  # as the upkeep does in a minute


def _waiting(connection: psycopg.Connection) -> int:
    counted = connection.execute(
        "select count(*) from documents where embedding is null and concat(title, body) ~ '\\S'"
    ).fetchall()
    return int(counted[0][0])


def run(
    connection: psycopg.Connection, collection: Collection, vectors: list[list[float]], reranker: Reranker | None
) -> list[Measured]:
    """Every mode that the pipeline has, with and without reranking, then the peers."""
    refused = available_modes(connection, "documents", collection.questions[0], vectors[0])
    modes = [mode for mode, sentence in refused.items() if not sentence]
    ours = evaluate(connection, "documents", collection.questions, vectors, modes, reranker)
    found = [Measured(f"pgembedd {each.name}", each.values) for each in ours]
    for name, ask in PEERS.items():
        asked = zip(collection.questions, [f"[{','.join(map(str, each))}]" for each in vectors], strict=True)
        values = [measure(ask(connection, question.query, vector), question) for question, vector in asked]
        found.append(Measured(name, means(values)))
    return found


def results(collection: str, found: Sequence[Measured]) -> list[Result]:
    """A line for each way and metric, compared with the first way, which is search by meaning alone."""
    lines = []
    for metric in found[0].values:
        values = {f"{collection}, {each.name}": [each.values[metric]] for each in found}
        lines += compare("retrieval", metric, values, next(iter(values)))
    return lines


def main() -> None:
    """Run it on every folder."""
    options = parser(__doc__)
    options.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a collection")
    options.add_argument("--model", default=MODEL, help="the model of the vectors")
    options.add_argument("--rerank", metavar="MODEL", help="with this reranker, too: ms-marco-minilm-l12")
    options.add_argument("--sample", type=int, metavar="N", help="at most N queries of each collection")
    given = options.parse_args()
    used = versions("pgembedd", "onnxruntime") | {"model": given.model}
    reranker = Reranker(given.rerank) if given.rerank else None
    for folder in given.folders:
        collection = read_collection(folder)
        collection = replace(collection, questions=evenly(collection.questions, given.sample or sys.maxsize))
        with Session(given.model) as session:
            asked = session.embed([each.query for each in collection.questions], kind="query").vectors
        with private_server() as server, connect_unpinned(server.conninfo(), autocommit=True) as connection:
            fill(connection, server.conninfo(), collection, given.model)
            found = run(connection, collection, asked.tolist(), reranker)
        publish(results(collection.name, found), used, as_json=given.json)
        counted = f"{len(collection.documents)} documents, {len(collection.questions)} queries"
        print(f"{collection.name}: {counted}.", file=sys.stderr)
    if reranker:
        reranker.close()


if __name__ == "__main__":
    main()
