"""Sentences of the program name a page by an address that one setting of the build holds."""

import ast
import re
from collections.abc import Iterator

import pytest

from pgembedd.settings.documentation import page_of
from tests.project.docs_site import DOCS, ROOT

PACKAGE = ROOT / "worker" / "pgembedd"
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize(
    ("urls", "address"),
    [
        ([], "docs/how-to/mcp.md"),
        (["Repository, https://example.org/code"], "docs/how-to/mcp.md"),
        (["Repository, https://example.org/code", "Documentation, https://example.org/docs/"],
         "https://example.org/docs/how-to/mcp/"),
        (["Documentation, https://example.org/code/blob/v1/docs/README.md"],
         "https://example.org/code/blob/v1/docs/how-to/mcp.md"),
    ],
)  # fmt: skip
def test_a_page_is_in_the_site_of_the_build_else_in_the_source(urls: list[str], address: str) -> None:
    assert page_of(urls, "how-to/mcp.md") == address


def named() -> Iterator[str]:
    """The pages that the program asks for the address of."""
    for module in MODULES.values():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "page":
                yield ast.literal_eval(node.args[0])


def test_the_pages_that_sentences_name_exist() -> None:
    assert len(set(named())) > 4
    assert [path for path in named() if not (DOCS / path).is_file()] == []


def test_no_sentence_has_an_address_of_its_own() -> None:
    """In Python, docstrings excepted, and in the refusals and hints of SQL."""
    found = []
    for path, module in MODULES.items():
        described = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
        for node in ast.walk(module):
            value = node.value if isinstance(node, ast.Constant) and id(node) not in described else None
            if isinstance(value, str) and re.search(r"docs/.*\.md", value):
                found.append(f"{path.name}: {value}")
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        code = [line.partition("--")[0] for line in path.read_text(encoding="utf-8").splitlines()]
        found += [f"{path.name}: {line}" for line in code if "docs/" in line]
    assert found == []
