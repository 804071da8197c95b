"""Questions with the keys of the rows that answer them: JSON lines, TREC's topics and qrels, BEIR's files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgembedd.errors import ConfigurationError
from pgembedd.settings.files import read_text

_TOPIC = re.compile(r"<top>(.*?)(?=<top>|\Z)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(num|title)>\s*(?:number:|topic:)?\s*([^<]*)", re.IGNORECASE)
_JUDGEMENT = re.compile(r"(?P<query>\S+)\s+(\S+\s+)?(?P<document>\S+)\s+(?P<grade>-?\d+(\.\d+)?)")
_TOPICS = "TREC's <top>, JSON lines of _id and text, or lines of an id, a tab and the query"
_SHAPE = '{"query": "words", "relevant": [1, 2]}'
_KEYS = ("query", "relevant", "facts")


@dataclass(frozen=True)
class Question:
    """A query, and the grade (above 0) of each relevant row by the text of its key (`key_text`)."""

    query: str
    relevant: dict[str, float]
    facts: tuple[str, ...] = ()
    """Words that a right answer states."""


def key_text(key: Any) -> str:
    """Returns a key as text, the same for a value and its text, and for an object and its JSON in any order."""
    if isinstance(key, str):
        if not key.lstrip().startswith("{"):
            return key
        try:
            key = json.loads(key)
        except ValueError:
            return str(key)
    if isinstance(key, dict):
        return json.dumps({name: key_text(value) for name, value in key.items()}, sort_keys=True)
    return json.dumps(key)


def read_questions(path: Path, *, unanswered: bool = False) -> list[Question]:
    """Reads JSON lines of `query`, `relevant` (a list of keys, or an object of grades) and `facts`. ConfigurationError.

    `unanswered` takes questions without relevant rows, too.
    """
    questions = []
    for number, line in _lines(path):
        try:
            asked = json.loads(line)
            query, relevant = asked["query"], asked["relevant"]
            graded = relevant.items() if isinstance(relevant, dict) else [(key, 1) for key in _listed(relevant)]
            grades = {key_text(key): float(grade) for key, grade in graded if float(grade) > 0}
            facts = tuple(fact.strip() for fact in _listed(asked.get("facts", [])))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"Line {number} of {path} is no question: it must be like {_SHAPE}.") from error
        if not isinstance(query, str) or not query.strip() or not (grades or unanswered):
            raise ConfigurationError(f"Line {number} of {path} has no query or no relevant key: give both.")
        if unknown := [name for name in asked if name not in _KEYS]:
            known = ", ".join(_KEYS)
            raise ConfigurationError(f'Line {number} of {path} has "{unknown[0]}", and may have {known} alone.')
        questions.append(Question(query, grades, tuple(filter(None, facts))))
    if not questions:
        raise ConfigurationError(f"{path} has no questions: give lines like {_SHAPE}.")
    return questions


def _listed(relevant: Any) -> list[Any]:
    if not isinstance(relevant, list):
        raise TypeError
    return relevant


def read_topics(topics: Path, qrels: Path) -> list[Question]:
    """Reads queries and judgements as TREC and BEIR have them; queries without a relevant document are left out.

    Topics: TREC's `<top>`, or JSON lines of `_id` and `text`, or lines of an id, a tab and the query. Judgements:
    lines of query, a column that is not used, document and grade; or of query, document and grade. ConfigurationError.
    """
    queries = _read_queries(topics)
    grades: dict[str, dict[str, float]] = {}
    for number, line in _lines(qrels):
        judged = _JUDGEMENT.fullmatch(line.strip())
        if judged is None and number > 1:  # the first line may name the columns
            raise ConfigurationError(f"Line {number} of {qrels} is no judgement: it must be query, 0, document, grade.")
        if judged is not None and float(judged["grade"]) > 0:
            grades.setdefault(judged["query"], {})[key_text(judged["document"])] = float(judged["grade"])
    known = [Question(query, grades[name]) for name, query in queries.items() if name in grades]
    if not known:
        raise ConfigurationError(
            f"No query of {topics} has a relevant document in {qrels}: do the two belong together?"
        )
    return known


def _read_queries(path: Path) -> dict[str, str]:
    """Returns the queries by their id."""
    text = read_text(path)
    found: dict[str, str] = {}
    try:
        if "<top>" in text.lower():
            for topic in _TOPIC.findall(text):
                fields = {name.lower(): " ".join(value.split()) for name, value in _FIELD.findall(topic)}
                found[fields["num"]] = fields["title"]
        elif text.lstrip().startswith("{"):
            for line in filter(str.strip, text.splitlines()):
                topic = json.loads(line)
                found[str(topic["_id"])] = str(topic["text"])
        else:
            for line in filter(str.strip, text.splitlines()):
                name, query = line.split("\t", 1)
                found[name] = query.strip()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} has no topics: they must be {_TOPICS}.") from error
    return {name: query for name, query in found.items() if query.strip()}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, with their numbers from 1."""
    return ((number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip())
