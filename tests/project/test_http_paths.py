"""The paths of the HTTP service, and the words of its errors: each is ours or another product's, and documented."""

from __future__ import annotations

import re
from pathlib import Path

from pgembedd.http.auth.authenticator import PAGE_PATHS
from pgembedd.http.paths import API, FUNCTIONS, OPENAI
from tests.project.public_names import error_words, http_document

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
OF_OTHERS = (
    OPENAI,
    FUNCTIONS,
    "/v2/rerank",
    "/embed",
    "/webhooks/database",
    "/metrics",
    "/livez",
    "/readyz",
    "/startupz",
)


def test_a_path_is_ours_or_another_products() -> None:
    strange = [path for path in http_document()["paths"] if not path.startswith((f"{API}/", *OF_OTHERS))]

    assert strange == []


def test_no_path_is_for_people_and_for_programs() -> None:
    """A browser sends a password by itself, so a program's path must not take one."""
    assert PAGE_PATHS & http_document()["paths"].keys() == set()
    assert not any(path.startswith(API) for path in PAGE_PATHS)


def test_every_path_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("{id}", "{answer}")
    told = re.findall(r"[`, ](/[\w/{}-]+)", page)

    assert [path for path in http_document()["paths"] if path not in told] == []
    ours = [path for path in told if path.startswith(f"{API}/")]
    assert [one for one in ours if not any(path.startswith(one) for path in http_document()["paths"])] == []


def test_every_word_of_an_error_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("| `error` | status | when |\n")[2].partition("\n\n")[0]
    told = [
        word for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for word in re.findall(r"`(\w+)`", cell)
    ]

    assert sorted(told) == sorted(error_words())
