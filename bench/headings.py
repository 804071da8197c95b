"""What the headings above a chunk give a search by meaning, on these docs: `formatting => E'$headings\n$chunk'`.

A question is a sentence that links to a section of another page; the chunks of that section are what it is to find. The
page that it is on is left out. A case is what is embedded for a chunk: its text alone, with the headings that its page
of the file stands under, or with all that it stands under. The figures are shares of the questions.
"""

import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report import Result, main
from pgembedd.documents.read import read
from pgembedd.model import Session
from pgembedd.text.headings import Headings

DOCS = Path(__file__).parents[1] / "docs"
MODEL = "all-MiniLM-L6-v2"
TOKENS = 230
"""Of a chunk: with its headings it is mostly within the 256 of that model."""
FEWEST_WORDS = 5
AT = (1, 5, 10)
_SENTENCE = re.compile(r"(?<=[.;:]) ")
_PARAGRAPH = re.compile(r"\n\n+|\n(?=- )|\n\| ")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]*)#([^)]+)\)")
_ANY_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_HEADING = re.compile(r"^#{1,6}[ \t]+(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """A chunk: its file, the headings of its page, all headings that it stands under, and its text."""

    file: Path
    page: str
    path: str
    text: str

    def is_of(self, anchor: str) -> bool:
        """Tells that it is of the section with that anchor."""
        titles = [*self.path.split(" › "), *_HEADING.findall(self.text)]  # noqa: RUF001
        return anchor in map(_anchor, titles)


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-")


def pieces(model: Session) -> list[Piece]:
    """The chunks of all pages."""
    found = []
    for file in sorted(DOCS.rglob("*.md")):
        for page in read(file.read_bytes(), 10_000_000).pages:
            under = Headings(page.text, page.headings)
            for chunk in model.split(page.text, tokens=TOKENS, overlap=0, markdown=True):
                above = " › ".join(page.headings)  # noqa: RUF001
                found.append(Piece(file, above, under.at(chunk.start), chunk.text))
    return found


def questions() -> list[tuple[Path, str, Path, str]]:
    """Of each sentence with one link to a section: its page, its text, and the page and anchor of the section."""
    found = []
    for file in [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"]:
        for paragraph in _PARAGRAPH.split(file.read_text(encoding="utf-8")):
            for sentence in _SENTENCE.split(" ".join(paragraph.split())):
                links = _LINK.findall(sentence)
                text = re.sub(r"[`*|]", "", _ANY_LINK.sub(r"\1", sentence)).strip()
                if len(links) == 1 and len(text.split()) >= FEWEST_WORDS and links[0][1]:
                    to = (file.parent / links[0][1]).resolve()
                    if to != file and to.is_relative_to(DOCS) and to.suffix == ".md":
                        found.append((file, text, to, links[0][2]))
    return found


def measure(options: Namespace) -> list[Result]:  # noqa: ARG001
    """Searches with each kind of vectors."""
    with Session(MODEL) as model:
        chunks, asked = pieces(model), questions()
        sought = np.array([[each.file == to and each.is_of(anchor) for each in chunks] for _, _, to, anchor in asked])
        own = np.array([[each.file == file for each in chunks] for file, *_ in asked])
        there = sought.any(axis=1)
        queries = model.embed([text for _, text, _, _ in asked], kind="query").vectors
        cases = {
            "the chunk": [each.text for each in chunks],
            "the headings of its page": [f"{each.page}\n{each.text}" for each in chunks],
            "all its headings": [f"{each.path}\n{each.text}" for each in chunks],
        }
        found = []
        for case, texts in cases.items():
            near = np.where(own, -2, queries @ model.embed(texts).vectors.T)
            hits = np.take_along_axis(sought, np.argsort(-near, axis=1), axis=1)[there]
            first = hits.argmax(axis=1) + 1
            shares = {f"{case}, first {at}": float(np.mean(first <= at)) for at in AT}
            found += [Result("headings", name, share, "share", (share, share)) for name, share in shares.items()]
    return found


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "semantic-text-splitter")
