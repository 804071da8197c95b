"""The table of new names in upgrade.md: the program and the database have each new name, and none of the old ones."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.project.public_names import Name, http_document, public_names
from tests.support.owners import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to" / "upgrade.md"
NOT_CHECKED = {
    "SQLSTATE `22023`": "codes: tests/sql/test_errcodes.py",
    "SQLSTATE `55000`": "a code",
    "422 of a search": "a status",
    "422 where a hundred": "a status",
    "HTTP 503 of a service": "statuses",
    "`pgembedd.language.Chunk`": "not every module of the old names is gone; its names of today are exported",
    "`backfill` of these": "the word is a function, too",
    "`queued` (the fresh lane)": "the old name has another meaning now",
    "`oldest_age`, `lag`": "fields of JSON that the command line prints",
    "`after` of `POST /search`": "a field of several surfaces, which share one declaration with SQL",
    "`queued`, `backfill` of `/api/status`": "fields of JSON that the command line prints",
    "`looked_at` of": "a field of JSON that the command line prints",
    "the order of": "an order",
    "`weights` and `marks` over HTTP": "fields of several surfaces, which share one declaration with SQL",
    "`ask(pipeline, question, filter, k, …)`": "an order",
    "`configure_answers()` resets": "a behaviour",
    "`pgembedd postgres remove`": "a behaviour",
    "`claim()`, `store()`": "a schema: tests/project/test_names.py has all that is public",
    "queue `pgembedd_jobs`": "no public name of SQL: tests/migration",
    "column `chunk_no`": "a column of users' tables: tests/migration",
    "`op.create_embedding_pipeline(": "options that are passed on to SQL",
    "`CreateEmbeddingPipelineOp.name`": "an attribute of an operation of alembic",
    "`pgembedd.errors.SearchError`": "the module is there, and is not public any more",
    "`pgembedd.model.Session`": "the module is there, and is not public any more",
    "the table `pgembedd.pipeline`": "no public name: the table is in another schema",
    "`model` of `ask()`": "a word of several surfaces; `model` is a name of embedding models elsewhere",
    'column `"row"`': "a word of several surfaces",
    "`usage` of the view `answers`": "a column: tests/migration/interface.txt has them all",
    "outcome `failed` of": "a value",
    "error `not_found` of": "a word of errors: tests/http",
    "`row` of the result of the tool": "a word of several surfaces",
    "log event `token_file_readable`": "no public name: tests/project/test_settings_and_logs.py has the events",
    "path `/failures`": "a page for people: tests/http/test_page.py",
}
"""The beginning of each row that no machine can check, and why."""

Fact = tuple[str, ...]
"""A kind and names: ("routine", "search"), ("argument", "search", "skip"), ("option", "pgembedd ask", "--model")."""

ROUTINE = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def table() -> list[tuple[str, str]]:
    """The rows: the cell of the old name and that of the new one."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition("## New names in 0.2.0\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (.+?) \| (.+) \|$", section.partition("|---|---|\n")[2], re.MULTILINE)


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def facts(old: str, new: str) -> tuple[set[Fact], set[Fact]]:
    """What a row says is gone, and what it says is there."""
    if old.startswith(("metric", "event", "label")):
        kind = old.split()[0]
        place = (spans(old)[1],) if kind == "label" else ()
        return {(kind, *place, spans(old)[0])}, {(kind, *place, spans(new)[0])}
    if " of " in old and "()" in old:
        where = [one.removesuffix("()") for one in spans(old.partition(" of ")[2]) if one.endswith("()")]
        names = spans(old.partition(" of ")[0])
        return (
            {("argument", one, name) for one in where for name in names},
            {("argument", one, name) for one in where for name in spans(new)},
        )
    gone = {fact for one in spans(old) for fact in of_span(one, command_of(old), "")}
    routine = next((fact[1] for fact in gone if fact[0] == "routine"), "")
    if "=>" in old:
        gone.discard(("routine", routine))
    if new.startswith("the view "):
        view, *columns = spans(new)
        there = {("view", view), *(("argument", view, one) for one in columns)}
    else:
        there = {fact for one in spans(new) for fact in of_span(one, command_of(new) or command_of(old), routine)}
    if "the same below `/api/v1`" in new:
        there = {("path", fact[1], "/api/v1" + fact[2]) for fact in gone if fact[0] == "path"}
    return gone - there, there


def command_of(cell: str) -> str:
    """The first command that a cell names."""
    return next((found[0] for one in spans(cell) if (found := re.match(r"pgembedd(?: [a-z]+)+", one))), "")


def path(method: str, template: str) -> Fact:
    """A method and a path, whatever its parameters are called."""
    return ("path", method, re.sub(r"\{\w+\}", "{}", template))


def of_span(span: str, command: str, routine: str) -> set[Fact]:
    """What one name in backticks is; a bare word in the second cell is an argument of the first cell's routine."""
    if span.startswith("PGEMBEDD_"):
        return {("variable", span)}
    if found := re.fullmatch(r"(GET|POST) (/\S+)", span):
        return {path(found[1].lower(), found[2])}
    if options := re.findall(r"--[a-z][a-z-]*", span):
        at = re.match(r"pgembedd(?: [a-z]+)+", span)
        return {("option", at[0] if at else command, one) for one in options}
    if found := ROUTINE.fullmatch(span):
        named = re.findall(r"(\w+) => ", found[2])
        listed = [] if named else re.findall(r"\b[a-z]\w*", re.sub(r"'[^']*'", "", found[2]))
        return {("routine", found[1]), *(("argument", found[1], one) for one in [*named, *listed])}
    if re.fullmatch(r"pgembedd(?: [a-z]+)+", span):
        return {("command", span)}
    name = span.partition(" =>")[0]
    if re.fullmatch(r"\w+", name):
        return {("argument", routine, name) if routine else ("view", name)}
    return set()


def of_name(one: Name) -> Fact:
    """A public name as a fact."""
    match one.kind:
        case "argument" | "column" if one.surface == "sql":
            return ("argument", one.where, one.name)
        case "option":
            return ("option", f"pgembedd {one.where}", one.name)
        case "command":
            return ("command", f"pgembedd {one.where} {one.name}".replace("  ", " "))
        case "label":
            return ("label", one.where, one.name)
    return (one.kind, one.name)


@pytest.fixture
def there(connection: psycopg.Connection) -> set[Fact]:
    """What there is today."""
    paths = {path(method, one) for one, methods in http_document()["paths"].items() for method in methods}
    served = {("metric", "process_start_time_seconds")}  # of the library of metrics
    every: set[Fact] = {of_name(one) for one in public_names(connection)} | paths | served
    options = {("option", "", fact[-1]) for fact in every if fact[0] == "option"}
    return every | options


def checked() -> list[tuple[str, str]]:
    return [(old, new) for old, new in table() if not old.startswith(tuple(NOT_CHECKED))]


def test_old_names_are_gone_and_new_ones_are_there(there: set[Fact]) -> None:
    wrong: list[tuple[str, str, Fact]] = []
    for old, new in checked():
        gone, present = facts(old, new)
        wrong += [(old, "is there", fact) for fact in sorted(gone & there)]
        wrong += [(old, "is not there", fact) for fact in sorted(present - there)]
        wrong += [] if gone else [(old, "says nothing that is checked", ())]
    assert wrong == [], "\n".join(map(str, wrong))


def test_what_is_not_checked_is_in_the_table() -> None:
    assert len(checked()) > 50
    assert [one for one in NOT_CHECKED if not any(old.startswith(one) for old, _ in table())] == []
