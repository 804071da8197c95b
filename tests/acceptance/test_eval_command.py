"""`pgembedd eval` as its users run it, with the real models."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.support.command import pgembedd
from tests.support.databases import Database
from tests.support.documents import await_quiet, make_documents
from tests.support.worker import WorkerProcess

WORSE, USAGE = 7, 2
TEXTS = {
    1: "To reset your password, open the settings and choose Security.",
    2: "The weather is fine today.",
    3: "Bake the bread for an hour.",
    4: "Friction of the air heats the skin of the wing.",
}
QUESTIONS = [
    {"query": "how do I reset my password", "relevant": [1]},
    {"query": "aerodynamic heating of aircraft", "relevant": {"4": 2, "2": 0}},
]


@pytest.fixture
def embedded(database: Database, connection: psycopg.Connection) -> Database:
    make_documents(connection)
    for key, text in TEXTS.items():
        connection.execute("insert into documents values (%s, %s)", (key, text))
    with WorkerProcess(database.conninfo):
        await_quiet(connection)
    return database


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return path


@pytest.mark.slow
def test_it_measures_saves_draws_and_compares(embedded: Database, questions: Path, tmp_path: Path) -> None:
    saved, plot = tmp_path / "saved.json", tmp_path / "plot.svg"
    asked = ("eval", "documents", str(questions))
    reranked = ("--rerank", "ms-marco-minilm-l12")
    done = pgembedd(*asked, *reranked, "--save", str(saved), "--plot", str(plot), database=embedded.conninfo)
    assert done.code == 0, done
    assert "documents: 2 questions" in done.out
    assert "semantic, reranked" in done.out
    assert "hybrid, reranked" in done.out
    stored = json.loads(saved.read_text())
    assert stored["results"]["semantic"] == {"nDCG@10": 1.0, "recall@10": 1.0, "MRR@10": 1.0}
    assert stored["results"]["semantic, reranked"] == stored["results"]["semantic"]
    assert plot.read_text().startswith("<svg ")

    # Of the same questions no metric fell; of a baseline that was better than possible each did.
    again = pgembedd(*asked, *reranked, "--baseline", str(saved), "--json", database=embedded.conninfo)
    assert again.code == 0, again
    assert json.loads(again.out) == stored
    stored["results"]["semantic"]["MRR@10"] = 1.5
    saved.write_text(json.dumps(stored))
    said = pgembedd(*asked, *reranked, "--baseline", str(saved), database=embedded.conninfo).refused(WORSE)
    assert "MRR@10 of semantic fell from 1.500 to 1.000." in said
    kept = pgembedd(*asked, *reranked, "--baseline", str(saved), "--tolerance", "0.6", database=embedded.conninfo)
    assert kept.code == 0, kept
    said = pgembedd(*asked, "--baseline", str(saved), database=embedded.conninfo).refused(WORSE)
    assert "semantic, reranked was not measured" in said


@pytest.mark.slow
def test_a_query_that_a_mode_refuses_finds_nothing_in_it(embedded: Database, questions: Path) -> None:
    asked = [QUESTIONS[0], {"query": "-weather", "relevant": [1, 2, 3, 4]}]  # by words it only excludes
    questions.write_text("\n".join(map(json.dumps, asked)))
    done = pgembedd("eval", "documents", str(questions), "--json", database=embedded.conninfo)
    assert done.code == 0, done
    results = json.loads(done.out)["results"]
    assert {mode: values["recall@10"] for mode, values in results.items() if mode != "hybrid"} == {
        "semantic": 1.0, "text": 0.5
    }  # fmt: skip


@pytest.mark.slow
def test_a_relevant_key_that_no_row_has_is_told(embedded: Database, questions: Path) -> None:
    questions.write_text(json.dumps({"query": "how do I reset my password", "relevant": [1, 17]}))
    done = pgembedd("eval", "documents", str(questions), "--json", database=embedded.conninfo)
    assert (done.code, done.err) == (0, '1 of 2 relevant keys is of no row of "documents": 17.\n')
    assert json.loads(done.out)["results"]["semantic"]["recall@10"] == 0.5


@pytest.mark.slow
def test_the_threshold_of_answers_is_measured(embedded: Database, questions: Path) -> None:
    asked = [*QUESTIONS, {"query": "who wrote the opera about the flying Dutchman", "relevant": []}]
    questions.write_text("\n".join(map(json.dumps, asked)))
    command = ("eval", "documents", str(questions), "--answers")
    done = pgembedd(*command, "--json", database=embedded.conninfo)
    assert done.code == 0, done
    found = json.loads(done.out)
    lowest, highest = found["with_answer"][0], found["without_answer"][0]
    assert highest < found["best"]["threshold"] < lowest
    assert (found["best"]["answered"], found["best"]["refused"]) == (1.0, 1.0)
    with embedded.connect() as connection:
        connection.execute("select pgembedd.configure_answers('documents', min_similarity => 0.99)")
    shown = pgembedd(*command, database=embedded.conninfo)
    assert shown.code == 0, shown
    assert "threshold 0.990 (set): answers 0% of the first, refuses 100% of the second" in shown.out
    assert f"1 question without one: similarity {highest:.3f} to" in shown.out

    questions.write_text(json.dumps(QUESTIONS[0]))
    assert "needs questions of both kinds" in pgembedd(*command, database=embedded.conninfo).refused(USAGE)
    assert "no other option" in pgembedd(*command, "--plot", "a.svg", database=embedded.conninfo).err


@pytest.mark.slow
def test_bad_input_is_one_sentence(embedded: Database, questions: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        return pgembedd("eval", *arguments, database=embedded.conninfo).refused(USAGE)

    assert 'There is no pipeline "nope"; there are: documents.' in refused("nope", str(questions))
    assert "cannot be read: No such file" in refused("documents", str(tmp_path / "none"))
    assert "choose ms-marco-minilm-l12" in refused("documents", str(questions), "--rerank", "nope")
    wrong = pgembedd("eval", "documents", str(questions), "--plot", "plot.png", database=embedded.conninfo)
    assert (wrong.code, wrong.err.splitlines()[-1]) == (
        USAGE, "Error: A plot is an SVG file: give it a name that ends with .svg."
    )  # fmt: skip
    assert "cannot be read: No such file" in refused("documents", str(questions), "--baseline", "none")
    for option, name in (("--plot", "plot.svg"), ("--save", "saved.json")):
        away = tmp_path / "none" / name
        said = refused("documents", str(tmp_path / "not read yet"), option, str(away))
        assert said == f"pgembedd: The file {away} cannot be written: there is no folder {away.parent}."
    questions.write_text(json.dumps({"query": "a", "relevant": [17]}))
    said = 'No relevant key is of a row of "documents": 17; give keys as a search returns them.'
    assert said in refused("documents", str(questions))
    questions.write_text(json.dumps({"query": "a", "relevant": ["x"]}))
    assert '"x" is no key of "documents"' in refused("documents", str(questions))
    questions.write_text("nonsense")
    assert "is no question" in refused("documents", str(questions))
