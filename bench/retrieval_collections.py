"""Collections of documents, queries and judgements, read from a folder in the layout that they are published in.

BEIR: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv` (else the first of `qrels/*.tsv`). TREC: one file each whose
name has `doc` (`<DOC>`), `query` or `topic` (`<top>`), and `qrel`. SMART, as of Cranfield: `*.all*` and `*.qry` with
`.I`, `.T` and `.W`, and `*qrel*`; a query's id is its position, and every grade above 0 counts as 1, because sources
disagree on which end of its scale is best.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgembedd.evaluation.questions import Question, read_topics

_DOC = re.compile(r"<DOC>\s*<DOCNO>\s*(\S+?)\s*</DOCNO>(.*?)</DOC>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Document:
    """A document; `title` may be empty."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Collection:
    """A collection by the name of its folder."""

    name: str
    documents: list[Document]
    questions: list[Question]


def read_collection(folder: Path) -> Collection:
    """Reads a folder of any of the layouts. ValueError for a folder of none."""
    if (folder / "corpus.jsonl").is_file():
        tests = sorted((folder / "qrels").glob("*.tsv"), key=lambda each: (each.stem != "test", each.name))
        if not tests:
            raise ValueError(f"{folder} has no qrels/*.tsv.")
        return Collection(folder.name, list(_beir(folder)), read_topics(folder / "queries.jsonl", tests[0]))
    if found := sorted(folder.glob("*.all*")):
        return Collection(folder.name, list(_smart_documents(found[0])), _smart_questions(folder))
    documents, topics = _one(folder, "*doc*"), _one(folder, "*query*", "*topic*")
    return Collection(folder.name, list(_trec(documents)), read_topics(topics, _one(folder, "*qrel*")))


def _one(folder: Path, *patterns: str) -> Path:
    for pattern in patterns:
        if found := sorted(each for each in folder.glob(pattern) if each.is_file()):
            return found[0]
    raise ValueError(f"{folder} has no file {' or '.join(patterns)}, and is of no other layout that is known.")


def _beir(folder: Path) -> Iterator[Document]:
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            each = json.loads(line)
            yield Document(str(each["_id"]), each.get("title") or "", each["text"])


def _trec(path: Path) -> Iterator[Document]:
    for name, text in _DOC.findall(path.read_text(encoding="utf-8", errors="replace")):
        yield Document(name, "", " ".join(_TAG.sub(" ", text).split()))


def _smart(path: Path) -> Iterator[dict[str, str]]:
    """Yields the fields of each entry, by their letter, `I` first."""
    for entry in re.split(r"^\.I ", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)[1:]:
        number, *fields = re.split(r"^\.([A-Z])\s*$", entry, flags=re.MULTILINE)
        named = zip(fields[::2], fields[1::2], strict=True)
        yield {"I": number.strip(), **{letter: " ".join(text.split()) for letter, text in named}}


def _smart_documents(path: Path) -> Iterator[Document]:
    for entry in _smart(path):
        title, text = entry.get("T", ""), entry.get("W", "")
        yield Document(entry["I"], title, text.removeprefix(title).strip())


def _smart_questions(folder: Path) -> list[Question]:
    relevant: dict[int, dict[str, float]] = {}
    for line in filter(str.strip, _one(folder, "*qrel*").read_text(encoding="ascii").splitlines()):
        query, document, grade = (int(part) for part in line.split())
        if grade > 0:
            relevant.setdefault(query, {})[str(document)] = 1.0
    entries = enumerate(_smart(_one(folder, "*.qry")), start=1)
    return [Question(entry["W"], relevant[number]) for number, entry in entries if number in relevant]
