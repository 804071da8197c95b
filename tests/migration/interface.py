"""The public interface of the database: the routines and views of the schema pgembedd, one a line.

`python -m tests.migration.interface` writes interface.txt again, when a version is released.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from pgembedd.database.migrate import migrate
from tests.support.databases import fresh_database, running_server
from tests.support.sql import column

RELEASED = Path(__file__).with_name("interface.txt")

_INTERFACE = r"""
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


def interface(connection: psycopg.Connection) -> list[str]:
    """Returns the routines and views with their parameters, results and columns."""
    return sorted(column(connection, _INTERFACE))


def main() -> None:
    """Writes the interface of a freshly migrated database."""
    with running_server() as server, fresh_database(server) as database:
        migrate(database.conninfo)
        with database.connect() as connection:
            RELEASED.write_text("".join(f"{line}\n" for line in interface(connection)), encoding="utf-8")


if __name__ == "__main__":
    main()
