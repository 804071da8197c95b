"""The interface that was released: calls, views and alembic revisions that were written for it run for good."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.support.sql import column

RELEASED = Path(__file__).with_name("interface.txt")

INTERFACE = r"""
    select concat(p.proname, '(', p.inputs, ') ', p.result) from (
        select p.proname, pg_get_function_identity_arguments(p.oid) as inputs, pg_get_function_result(p.oid) as result
        from pg_proc p where p.pronamespace = 'pgembedd'::regnamespace and not starts_with(p.proname, '_')) p
    union all
    select concat(c.relname, ' TABLE(', string_agg(
        a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum), ')')
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'pgembedd'::regnamespace and c.relkind = 'v' and not starts_with(c.relname, '_')
    group by c.relname order by 1
"""


def test_parameters_and_columns_are_only_added_and_at_the_end(connection: psycopg.Connection) -> None:
    """A new line belongs into the file with the version that releases it; none of it is changed later."""
    now = [line.split(")") for line in column(connection, INTERFACE)]
    for released in RELEASED.read_text(encoding="utf-8").splitlines():
        begun = released.split(")")
        assert [one for one in now if all(map(str.startswith, one, begun)) and len(one) == len(begun)], released
