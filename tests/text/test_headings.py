"""The headings above each place of a Markdown text."""

from __future__ import annotations

import psycopg

from pgembedd.text.headings import MOST_CHARACTERS, Headings
from tests.support.bounded import said_by
from tests.support.sql import value
from tests.support.transaction import connection

__all__ = ["connection"]

TEXT = """Before.

## Linux

```
# no heading
```

Use a shell.

### Debian

#### Old

Use apt.

## BSD

Use pkg.

~~~
# an open fence
"""


def path(*headings: str) -> str:
    return " › ".join(headings)  # noqa: RUF001


def test_each_place_knows_what_it_stands_under() -> None:
    headings = Headings(TEXT, ["Install"])

    def at(text: str) -> str:
        return headings.at(TEXT.index(text))

    assert at("Before") == "Install"
    assert at("## Linux") == at("Use a shell") == at("# no heading") == path("Install", "Linux")
    assert at("### Debian") == at("Use apt") == headings.longest() == path("Install", "Linux", "Debian", "Old")
    assert at("## BSD") == at("# an open") == path("Install", "BSD")
    assert Headings("# A\n\nText").at(0) == "A"
    assert Headings("Text").at(0) == ""


def test_long_headings_lose_the_outermost() -> None:
    headings = Headings(f"# {'a' * 200}\n\n## {'b' * 200}\n\n### {'c' * 400}\n\nText")
    assert headings.at(0) == "c" * MOST_CHARACTERS
    assert Headings(f"## {'b' * 200}", ["a" * 200]).at(0) == "b" * 200


def test_sql_knows_the_same(connection: psycopg.Connection) -> None:
    shown = "select pgembedd_internal._search_headings('{Install}', %s, %s)"
    for chunk in ("Before.", "## Linux", "Use a shell.", "### Debian\n\n#### Old\n\nUse apt.", "Use apt.", "Use pkg."):
        assert path(*value(connection, shown, TEXT, chunk)) == Headings(TEXT, ["Install"]).at(TEXT.index(chunk))


def test_many_blanks_in_a_heading_take_a_moment() -> None:
    program = "from pgembedd.text.headings import Headings; "
    program += "print(len(Headings('# a' + ' ' * 1_000_000 + 'b').at(0)))"
    assert said_by(program) == "300\n"
