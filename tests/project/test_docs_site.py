"""The documentation as a site: each page is in its navigation, no link is broken, nothing is loaded from elsewhere."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.project.docs_site import DOCS, INDEX, as_page, build, generate, navigation, pages_of, stage


def test_every_page_is_in_the_navigation_once() -> None:
    """In the order of docs/README.md, which is the only list of them."""
    listed = re.findall(r"^\| \[[^]]+\]\(([\w./-]+\.md)\)", (DOCS / INDEX).read_text(encoding="utf-8"), re.MULTILINE)

    assert pages_of(navigation()) == [INDEX, *listed]
    assert sorted(pages_of(navigation())) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_links_out_of_the_documentation_lead_to_the_repository() -> None:
    page = DOCS / "explanation" / "reliability.md"
    text = "[a](../../tests/x.py#L1), [b](../reference/sql.md)\n\n```sql needs a worker\nselect 1\n```\n"

    there = as_page(text, page, "https://example.org/pgembedd")
    assert "[a](https://example.org/pgembedd/blob/main/tests/x.py#L1), [b](../reference/sql.md)" in there
    assert "\n```sql\nselect 1\n```\n" in there
    assert as_page(text, page, "").startswith("a, [b](../reference/sql.md)")


class Loaded(HTMLParser):
    """The addresses that a page loads by itself: scripts, styles, images, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "source"}:
            self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset"} and value]


@pytest.mark.release
def test_the_site_is_built_with_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = build(tmp_path)

    for page in pages_of(navigation()):
        place = site / page.removesuffix(".md") if page != INDEX else site
        text = (place / "index.html").read_text(encoding="utf-8")
        loaded = Loaded()
        loaded.feed(text)
        assert len(loaded.addresses) > 3
        assert [address for address in loaded.addresses if re.match(r"(https?:)?//", address)] == [], page
        assert 'data-md-color-scheme="slate"' in text, page
        prose = re.sub(r"<pre.*?</pre>|<[^>]+>", "", text, flags=re.DOTALL)
        assert not re.search(r"^(```|\| -|#{2,} )", prose, re.MULTILINE), f"{page} has text that became no element"
    assert "create_pipeline" in json.dumps(json.loads((site / "search.json").read_text(encoding="utf-8")))


@pytest.mark.release
@pytest.mark.parametrize("link", ["how-to/none.md", "reference/sql.md#none"])
def test_a_broken_link_ends_the_build(tmp_path: Path, link: str) -> None:
    stage(tmp_path)
    page = tmp_path / "docs" / INDEX
    page.write_text(f"{page.read_text(encoding='utf-8')}\n[broken]({link})\n", encoding="utf-8")

    with pytest.raises(subprocess.CalledProcessError):
        generate(tmp_path)
