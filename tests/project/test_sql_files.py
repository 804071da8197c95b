"""The form of the files in sql/ and of statements: short lines, short files, a head for every file's name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

SQL = Path(__file__).parents[2] / "sql"
FILES = sorted(SQL.rglob("*.sql"))
STATEMENTS = sorted((SQL.parent / "worker/pgembedd/database/statements").glob("*.sql"))

MOST_COLUMNS = 120
MOST_LINES = 250

_BODY = re.compile(
    r"create or replace (?:function|procedure)\s+(?P<name>[\w.]+).*?\bas\s+(?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)",
    re.DOTALL,
)


# Comments, the marks of dollar quotes, literals, quoted names.
_TOKEN = re.compile(r"""--[^\n]*|\$\w*\$|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"[^"]*\"""")


def named(path: Path) -> str:
    return path.relative_to(SQL if path.is_relative_to(SQL) else SQL.parent).as_posix()


def bodies() -> dict[str, int]:
    """The number of lines of every function's body."""
    return {
        found["name"]: found["body"].strip("\n").count("\n") + 1
        for path in FILES
        for found in _BODY.finditer(path.read_text(encoding="utf-8"))
    }


def test_no_line_is_longer_than_120_characters() -> None:
    lines = {
        f"{named(path)}:{number}"
        for path in FILES + STATEMENTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MOST_COLUMNS or line != line.rstrip()
    }
    assert lines == set()


def test_every_database_can_hold_them() -> None:
    """Whatever its encoding: it is sent as UTF-8."""
    foreign = {named(path) for path in FILES + STATEMENTS if not path.read_text(encoding="utf-8").isascii()}
    assert foreign == set()


def test_no_two_statements_share_a_name() -> None:
    """The second would be taken for both."""
    text = "".join(path.read_text(encoding="utf-8") for path in STATEMENTS)
    names = Counter(re.findall(r"^-- name: (\w+)$", text, re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []


def test_literals_mean_the_same_under_any_standard_conforming_strings() -> None:
    """A body is parsed under the settings of its caller: what holds a backslash is E'...'."""
    plain = {
        f"{named(path)}: {token}"
        for path in FILES
        for token in _TOKEN.findall(path.read_text(encoding="utf-8"))
        if token.startswith("'") and "\\" in token
    }
    assert plain == set()


def test_no_file_is_longer_than_250_lines() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES + STATEMENTS}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = bodies()
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > 60} == {}
    assert len([name for name, length in lengths.items() if length > 40]) <= 4


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_stands_in_a_numbered_folder(path: Path) -> None:
    assert re.fullmatch(r"\d\d_[a-z_]+/[a-z0-9_]+\.sql", named(path))


def test_every_internal_function_that_is_called_or_granted_is_there() -> None:
    """The bodies of procedures are not checked by plpgsql_check, nor are the names in a list of grants."""
    text = re.sub(r"--[^\n]*", "", "\n".join(path.read_text(encoding="utf-8") for path in FILES))
    there = set(re.findall(r"create or replace (?:function|procedure) pgembedd(?:_internal)?\.(\w+)", text))
    called = set(re.findall(r"(?<![\w.'%])(?:pgembedd(?:_internal)?\.)?(_[a-z]\w*)\(", text))
    granted = {
        name for listed in re.findall(r"proname in \(([^)]*)\)", text) for name in re.findall(r"'(_\w+)'", listed)
    }
    assert len(granted) > 20
    assert called | granted <= there, sorted((called | granted) - there)


def test_what_an_owner_may_have_set_is_looked_at_before_a_name_is_looked_up() -> None:
    """Code of a table's owner may set the search_path, for the rest of the function that called it.

    So the statement after generated code names its schema. What only asks (`_ask_named`) is undone with its settings.
    """
    call = re.compile(
        r"\bexecute format\((?:(?!;\n).)*?_pipeline_function\((?:(?!;\n).)*;\n\s*(?P<next>[^\n]*)", re.DOTALL
    )
    found = {
        f"{named(path)}: {match['next']}"
        for path in FILES
        for match in call.finditer(path.read_text(encoding="utf-8"))
        if "create " not in match[0]  # generated code is made, not called
    }
    assert len(found) > 5
    assert {one for one in found if not re.search(r": (?:perform pgembedd_internal\.|end)", one)} == set()


def test_advisory_locks_are_of_requests_of_embed_alone() -> None:
    """Any role can take one, and hold it."""
    code = [*FILES, *STATEMENTS, *(SQL.parent / "worker/pgembedd").rglob("*.py")]
    locks = {
        (path.name, lock)
        for path in code
        for lock in re.findall(r"pg_(?:try_)?advisory_(?:xact_)?lock\w*\(([^)]*)", path.read_text(encoding="utf-8"))
    }
    assert locks == {
        ("serve.sql", "uuid_hash_extended(picked.id, 0"),
        ("serve.sql", "uuid_hash_extended(served.id, 0"),
        ("await_vector.sql", "lock"),
    }
