"""The schema as pg_dump sees it, in a form that can be committed and compared.

`python -m tests.migration.dump` writes schema.sql again after an intended change; the diff is for the reviewer.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database, running_server

COMMITTED = Path(__file__).with_name("schema.sql")

# Versions, session settings, the random key that keeps psql in restricted mode, the role of embed()'s second
# connection, which is named after the database, and that the role pgembedd may call what it calls, which is much.
_NOISE = re.compile(
    r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*|GRANT .* TO pgembedd_embed_\d+;"
    r"|GRANT ALL ON FUNCTION .* TO pgembedd;)?\n",
    re.MULTILINE,
)

# PostgreSQL 18 names them, and keeps the name where a column is renamed.
_NAME_OF_NOT_NULL = re.compile(r" CONSTRAINT \w+_not_null NOT NULL")

# pg_dump's header of an object, which ends at the next one.
_OBJECT = re.compile(
    r"^-- Name: (?P<name>.*); Type: (?P<type>[A-Z ]+); Schema: .*\n(?P<rest>(?:(?!-- Name: ).*\n)*)", re.MULTILINE
)


def dump_schema(server: EmbeddedPostgres, database: Database) -> str:
    """The definition of everything in our schemas, without owners."""
    return _NOISE.sub("", _pg_dump(server, database))


def dump_frozen(server: EmbeddedPostgres, database: Database) -> str:
    """What the migrations freeze: tables, types, indexes, policies, and all grants.

    Functions and views stand in sql/, where a change of them shows in review.
    """
    return _NOISE.sub("", _OBJECT.sub(_frozen_part, _pg_dump(server, database)))


def _frozen_part(found: re.Match[str]) -> str:
    routine = found["name"].startswith(("FUNCTION ", "PROCEDURE "))
    if found["type"] == "ACL" and routine:
        return "".join(line for line in found["rest"].splitlines(keepends=True) if line.startswith("GRANT "))
    replaced = routine or found["type"] in ("FUNCTION", "PROCEDURE", "VIEW")
    return "" if replaced or found["name"].startswith("VIEW ") else found[0]


def _pg_dump(server: EmbeddedPostgres, database: Database) -> str:
    done = subprocess.run(
        [
            str(server.bin_dir / "pg_dump"),
            "--schema-only",
            "--no-owner",
            "--schema=pgembedd",
            "--schema=pgembedd_internal",
            "--schema=pgembedd_code",
            database.conninfo,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return _NAME_OF_NOT_NULL.sub(" NOT NULL", done.stdout)


def main() -> None:
    """Write the dump of a freshly migrated database."""
    with running_server() as server, fresh_database(server) as database:
        migrate(database.conninfo)
        COMMITTED.write_text(dump_frozen(server, database), encoding="utf-8")


if __name__ == "__main__":
    main()
