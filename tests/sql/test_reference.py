"""docs/reference/sql.md gives each routine the parameters, types and defaults that it has in the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.support.sql import rows, value

PAGE = Path(__file__).parents[2] / "docs/reference/sql.md"

ROUTINES = r"""
    select p.proname, array_agg(array[
               a.name, replace(format_type(a.type, null), 'public.', ''),
               pg_get_function_arg_default(p.oid, a.nth::int)] order by a.nth) filter (where a.name <> '')
    from pg_proc p
    left join unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) with ordinality as a(name, type, nth) on true
    where p.pronamespace = 'pgembedd'::regnamespace and not starts_with(p.proname, '_')
    group by p.oid, p.proname order by p.proname, p.pronargs
"""
# A name, a type of one or more words, and a default.
PARAMETER = re.compile(r"(?:variadic |inout )?(\w+)(?: ([\w\[\] ]+?))?(?: default (.*))?", re.DOTALL)
LISTED = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]*)\| ([^|]*)\| [^|]*\|$", re.MULTILINE)

Parameters = dict[str, tuple[str | None, str | None]]


def sections() -> Iterator[tuple[str, str]]:
    """Each heading of a routine or view, with its text."""
    yield from re.findall(r"^### (\w+)\n(.*?)(?=^#+ |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def signatures(name: str, section: str) -> Iterator[tuple[Parameters, bool]]:
    """The parameters of each signature, and whether an ellipsis says that the table has others."""
    for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[:1]:
        for inside in re.findall(rf"pgembedd\.{name}\(((?:[^()]|\([^()]*\))*)\)", block):
            parts = [part.strip() for part in re.findall(r"(?:'[^']*'|[^,'])+", inside)]
            found = [PARAMETER.fullmatch(part) for part in parts if part != "…"]
            yield {part[1]: (part[2], part[3]) for part in found if part}, "…" in parts


def listed(section: str) -> Parameters:
    """The parameters in the section's table, by name; several may share a line."""
    found: Parameters = {}
    for names, type_, default in LISTED.findall(section):
        given = None if default.strip() == "required" else default.strip().strip("`")
        for name in re.findall(r"\w+", names):
            found.setdefault(name, (type_.strip() or None, given))
    return found


def test_every_signature_is_that_of_the_catalog(connection: psycopg.Connection) -> None:
    catalog: dict[str, list[list[list[str]]]] = {}
    for name, parameters in rows(connection, ROUTINES):
        catalog.setdefault(name, []).append(parameters or [])
    wrong = []
    for name, section in sections():
        written, routines = list(signatures(name, section)), catalog.get(name, [])
        assert bool(written) is bool(routines), name
        for routine in routines:
            differences = (list(differing(connection, routine, *one, listed(section))) for one in written)
            wrong += [(name, *one) for one in min(differences, key=len)]
    assert wrong == []


def test_every_column_of_a_view_has_its_type(connection: psycopg.Connection) -> None:
    columns = rows(
        connection,
        r"""
        select c.relname, array_agg(array[a.attname, format_type(a.atttypid, null)])
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'pgembedd'::regnamespace and c.relkind = 'v' and c.relname !~ '^_' group by c.oid
        """,
    )
    short = {"timestamp with time zone": "timestamptz"}
    for name, catalog in columns:
        written = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", dict(sections())[name], re.MULTILINE))
        assert written == {column: short.get(type_, type_) for column, type_ in catalog}, name


def differing(
    connection: psycopg.Connection, routine: list[list[str]], given: Parameters, more: bool, table: Parameters
) -> Iterator[tuple[str, ...]]:
    """The parameters that a signature, with the table where it is not complete, gives in another way."""
    known = table | {name: one for name, one in given.items() if one[0]} if more else given
    yield from ((name, "is none") for name in given.keys() - {name for name, *_ in routine})
    for name, type_, default in routine:
        says, to = known.get(name, ("nothing", None))
        if says not in (None, type_) or not same(connection, type_, default, to):
            yield name, f"{type_} default {default}", f"{says} default {to}"


def same(connection: psycopg.Connection, type_: str, default: str | None, to: str | None) -> bool:
    """Tells that two defaults, each perhaps none, mean the same."""
    if default is None or to is None:
        return default is to
    return bool(value(connection, f"select ({to})::{type_} is not distinct from ({default})::{type_}"))
