"""An answer as HTML, part by part."""

from __future__ import annotations

import pytest

from pgembedd.http.dashboard.sentences import Sentences

SOURCE = {"title": "One", "url": None, "excerpt": "the text"}
TEXT = "Open it [1, 2]. Then [3, 4] <b> [1][ 5"


def link(number: int) -> str:
    return f'<a class="cite" href="#source-{number}">[{number}]</a>'


def beside(number: int) -> str:
    return f'<aside class="more">[{number}] One: the text</aside>'


@pytest.mark.parametrize("size", [1, 3, len(TEXT)])
def test_each_number_of_a_citation_leads_to_its_source(size: int) -> None:
    """Whatever the parts are that the text comes in; a number that is no source is text."""
    written = Sentences()
    written.sources = dict.fromkeys((1, 2, 3), SOURCE)
    html = "".join(written.add(TEXT[at : at + size]) for at in range(0, len(TEXT), size)) + written.end()
    first, second = html.splitlines()
    assert first == f'<div class="sentence"><p>Open it {link(1)}{link(2)}.</p>{beside(1)}{beside(2)}</div>'
    cited = f"Then {link(3)}[4] &lt;b&gt; {link(1)}[ 5"
    assert second == f'<div class="sentence"><p>{cited}</p>{beside(3)}{beside(1)}</div>'
    assert written.cited == {1, 2, 3}
