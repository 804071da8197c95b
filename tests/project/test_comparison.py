"""Each line of docs/explanation/comparison.md has a source that is listed and a date, or says that none was found."""

import re

from tests.project.docs_site import DOCS

TEXT = (DOCS / "explanation" / "comparison.md").read_text(encoding="utf-8")
SOURCES = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", TEXT, re.MULTILINE))
ROWS = re.findall(r"^\| (?!\| |what )(.+?) \| (.+?) \|(?: (.+?))? \|$", TEXT.split("\n## ", 2)[2], re.MULTILINE)
OURS = re.compile(r"\]\((?:\.\./)*[\w/-]+\.md")


def test_each_line_has_its_source_and_date() -> None:
    assert len(ROWS) > 80
    for project, said, source in ROWS:
        if said != "not found" and not OURS.search(source):
            named = re.findall(r"\]\[([\w-]+)\]", source)
            assert named, (project, said)
            assert re.search(r"\b20\d\d-\d\d-\d\d\b", f"{source} {said}"), (project, said)


def test_the_sources_are_those_that_are_named() -> None:
    assert set(re.findall(r"\]\[([\w-]+)\]", TEXT)) == set(SOURCES)
