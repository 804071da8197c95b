"""Files of questions in every format, and the sentence for each that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgembedd.errors import ConfigurationError
from pgembedd.evaluation.baseline import digest, falls, load, save, to_json
from pgembedd.evaluation.evaluate import Measured
from pgembedd.evaluation.metrics import METRICS
from pgembedd.evaluation.plot import svg
from pgembedd.evaluation.questions import Question, key_text, read_questions, read_topics

QRELS = "1 0 12 1\n1 0 13 0\n2 0 7 2\n3 0 9 1\n"
TREC = """<top>
<num>1</num><title>
HOW ARE
WINGS HEATED
</title>
</top>
<top><num> Number: 2 <title> the second
<desc> Description: more
</top>
"""


def written(folder: Path, text: str, name: str = "questions") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines(tmp_path: Path) -> None:
    first = '{"query": "a", "relevant": [1, "two", {"id": 3, "part": "x"}]}'
    lines = f'{first}\n\n{{"query": "b", "relevant": {{"1": 2, "7": 0}}, "facts": [" so ", ""]}}\n'
    assert read_questions(written(tmp_path, lines)) == [
        Question("a", {"1": 1.0, "two": 1.0, '{"id": "3", "part": "x"}': 1.0}),
        Question("b", {"1": 2.0}, ("so",)),
    ]


def test_a_key_is_the_same_as_a_value_and_as_text() -> None:
    assert key_text(7) == key_text("7")
    assert key_text({"b": 1, "a": "x"}) == key_text('{"a": "x", "b": "1"}')
    assert key_text("{no json") == "{no json"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("nonsense", 'Line 2 of {} is no question: it must be like {{"query": "words", "relevant": [1, 2]}}.'),
        ('["a"]', 'Line 2 of {} is no question: it must be like {{"query": "words", "relevant": [1, 2]}}.'),
        ('{"query": "a", "relevant": "1"}', "Line 2 of {} is no question"),
        ('{"query": "a", "relevant": {"1": "good"}}', "Line 2 of {} is no question"),
        ('{"query": "a"}', "Line 2 of {} is no question"),
        ('{"query": "a", "relevant": [1], "facts": "so"}', "Line 2 of {} is no question"),
        ('{"query": "a", "relevant": [1], "facts": [7]}', "Line 2 of {} is no question"),
        (
            '{"query": "a", "relevant": [1], "fact": ["b"]}',
            'Line 2 of {} has "fact", and may have query,',
        ),
        ('{"query": " ", "relevant": [1]}', "Line 2 of {} has no query or no relevant key: give both."),
        ('{"query": "a", "relevant": []}', "Line 2 of {} has no query or no relevant key: give both."),
        ('{"query": 7, "relevant": [1]}', "Line 2 of {} has no query or no relevant key: give both."),
    ],
)
def test_a_line_that_is_no_question(tmp_path: Path, line: str, sentence: str) -> None:
    path = written(tmp_path, f'{{"query": "a", "relevant": [1]}}\n{line}\n')
    with pytest.raises(ConfigurationError) as caught:
        read_questions(path)
    assert str(caught.value).startswith(sentence.format(path))


def test_no_questions_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no questions: give lines like"):
        read_questions(written(tmp_path, "\n"))
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_questions(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read: not UTF-8 text"):
        read_questions(tmp_path / "latin")


@pytest.mark.parametrize(
    "topics",
    [
        TREC,
        '{"_id": "1", "text": "HOW ARE WINGS HEATED"}\n{"_id": 2, "text": "the second"}',
        "1\tHOW ARE WINGS HEATED\n2\tthe second",
    ],
    ids=["trec", "beir", "tabs"],
)
@pytest.mark.parametrize(
    "qrels", [QRELS, "query-id\tcorpus-id\tscore\n1\t12\t1\n1\t13\t0\n2\t7\t2\n3\t9\t1\n"], ids=["trec", "beir"]
)
def test_topics_with_judgements(tmp_path: Path, topics: str, qrels: str) -> None:
    assert read_topics(written(tmp_path, topics), written(tmp_path, qrels, "qrels")) == [
        Question("HOW ARE WINGS HEATED", {"12": 1.0}),
        Question("the second", {"7": 2.0}),
    ]


def test_topics_that_are_none(tmp_path: Path) -> None:
    topics, qrels = written(tmp_path, "only words"), written(tmp_path, QRELS, "qrels")
    with pytest.raises(ConfigurationError, match="has no topics: they must be TREC's <top>"):
        read_topics(topics, qrels)
    topics.write_text("8\tanother")
    with pytest.raises(ConfigurationError, match=r"No query of .* do the two belong together"):
        read_topics(topics, qrels)
    qrels.write_text("1 0 12 1\n8 0\n")
    with pytest.raises(ConfigurationError, match=r"Line 2 of .* is no judgement: it must be query, 0, document, grade"):
        read_topics(topics, qrels)


def measured(name: str, value: float) -> Measured:
    return Measured(name, dict.fromkeys(METRICS, value))


def test_a_baseline_tells_what_fell(tmp_path: Path) -> None:
    asked = [Question("a", {"1": 1.0}), Question("b", {"2": 1.0})]
    before = [measured("semantic", 0.5), measured("text", 0.4), measured("text, reranked", 0.45)]
    path = tmp_path / "baseline.json"
    save(path, to_json("documents", "m@1", asked, before))
    stored = load(path, asked[::-1])
    assert falls(stored, before, 0.0) == []
    now = [measured("semantic", 0.49), measured("text", 0.42), measured("hybrid", 0.1)]
    assert falls(stored, now, 0.011) == ["text, reranked was not measured"]
    assert falls(stored, now, 0.005) == [
        "text, reranked was not measured",
        *(f"{name} of semantic fell from 0.500 to 0.490" for name in METRICS),
    ]


def test_what_is_no_baseline(tmp_path: Path) -> None:
    asked = [Question("a", {"1": 1.0})]
    path = written(tmp_path, "[]", "baseline.json")
    with pytest.raises(ConfigurationError, match="is no baseline: make one with --save"):
        load(path, asked)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "none", asked)
    save(path, to_json("documents", "m@1", asked, [measured("semantic", 0.5)]))
    with pytest.raises(ConfigurationError, match="was measured on other questions"):
        load(path, [Question("a", {"2": 1.0})])
    assert digest(asked) != digest([Question("a", {"1": 2.0})])


def test_the_plot_shows_every_value() -> None:
    drawn = svg("a < b", [measured("semantic", 0.5), measured("hybrid, reranked", 0.625)])
    assert drawn.startswith("<svg ")
    assert "a &lt; b" in drawn
    assert drawn.count(">0.500<") == drawn.count(">0.625<") == len(METRICS)
    assert "hybrid, reranked" in drawn
