"""The retrieval bench: collections of every layout are read, and each peer's SQL finds what it should."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from bench.retrieval import TABLE, results
from bench.retrieval_collections import Document, read_collection
from bench.retrieval_peers import PEERS
from pgembedd.evaluation.evaluate import Measured
from pgembedd.evaluation.questions import Question
from tests.support.databases import Database

ASKED = [Question("heat of a wing", {"2": 1.0})]


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


BEIR = {
    "corpus.jsonl": '{"_id": "1", "title": "Bread", "text": "is baked"}\n{"_id": "2", "title": "", "text": "the wing"}',
    "queries.jsonl": '{"_id": "q", "text": "heat of a wing"}\n',
    "qrels/dev.tsv": "query-id\tcorpus-id\tscore\nq\t1\t1\n",
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\t2\t1\n",
}
TREC = {
    "doc-text.trec": "<DOC>\n<DOCNO>1</DOCNO>\nbread is\nbaked\n</DOC>\n<DOC><DOCNO>2</DOCNO>the wing</DOC>",
    "query-text.trec": "<top><num>1</num><title>heat of a wing</title></top>",
    "qrels": "1 0 2 1\n",
}
# Its queries are counted by position, and its texts repeat their title.
SMART = {
    "c.all.2": ".I 1\n.T\nbread\n.A\nx\n.W\nbread\nis baked\n.I 2\n.T\n\n.W\nthe wing\n",
    "c.qry": ".I 001\n.W\nnot judged\n.I 007\n.W\nheat of\na wing\n",
    "cqrel": "2 2 3 \n2 1 -1\n",
}


@pytest.mark.parametrize(
    ("files", "title", "text"),
    [(BEIR, "Bread", "is baked"), (TREC, "", "bread is baked"), (SMART, "bread", "is baked")],
    ids=["beir", "trec", "smart"],
)
def test_a_collection_of_any_layout_is_read(tmp_path: Path, files: dict[str, str], title: str, text: str) -> None:
    read = read_collection(written(tmp_path, files))
    assert read.documents == [Document("1", title, text), Document("2", "", "the wing")]
    assert read.questions == ASKED


def test_a_folder_of_no_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no file \*doc\*, and is of no other layout"):
        read_collection(tmp_path)


ROWS = [
    ("near", "bread", "[1,0,0]"),
    ("nearer", "water", "[1,0.1,0]"),
    ("words", "heat of the wing", "[0,0,1]"),
    ("far", "stone", "[0,1,0]"),
]
# LlamaIndex puts the nearest before anything that the words found; the others lift what both legs have.
FIRST = {"Supabase": "words", "LangChain": "words", "LlamaIndex": "near", "pg_vectorize": "words"}


@pytest.mark.parametrize("name", PEERS)
def test_the_peers_search_by_meaning_and_words(database: Database, name: str) -> None:
    with database.connect() as connection:
        make_table(connection)
        found = PEERS[name](connection, "wing heat", "[1,0,0]")
        assert sorted(found) == sorted(row[0] for row in ROWS)
        assert found.index("near") < found.index("nearer") < found.index("far")
        assert found[0] in {FIRST[name], "near"}
        assert PEERS[name](connection, "of the", "[1,0,0]")[0] == "near", "no word is left of the query"


def make_table(connection: psycopg.Connection) -> None:
    connection.execute(TABLE)
    connection.execute("alter table documents add embedding halfvec(3)")
    with connection.cursor() as cursor:
        cursor.executemany("insert into documents (id, body, embedding) values (%s, %s, %s)", ROWS)


def test_results_are_compared_with_search_by_meaning() -> None:
    ways = [
        Measured("pgembedd semantic", {"MRR@10": 0.5}),
        Measured("pgembedd hybrid, reranked", {"MRR@10": 0.6}),
    ]
    first, second = results("c", ways)
    assert (first.case, first.unit, first.ratio) == ("c, pgembedd semantic", "MRR@10", None)
    assert (second.case, second.ratio_to) == ("c, pgembedd hybrid, reranked", "c, pgembedd semantic")
    assert second.ratio == pytest.approx(1.2)
