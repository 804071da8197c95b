"""docs/reference/sql.md is what sql/ and the migrations say, where it is made of them."""

import re

from tests.project.sql_reference import PAGE, comments, rendered, routines, views


def test_the_page_is_as_it_is_generated() -> None:
    """`python -m tests.project.sql_reference` writes it."""
    page = PAGE.read_text(encoding="utf-8")

    assert rendered(page) == page
    assert sorted(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == sorted([*routines(), *views()])


def test_every_parameter_of_a_table_is_explained() -> None:
    assert re.findall(r"^\| `\w+` \|.*\|  \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == []


def test_every_public_routine_and_view_has_a_comment() -> None:
    assert [name for name in [*routines(), *views()] if name not in comments()] == []
