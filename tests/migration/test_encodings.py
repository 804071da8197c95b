"""Databases in other encodings than UTF-8."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_texts_are_texts_whatever_the_encoding(server: EmbeddedPostgres, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(f"create database {name} template template0 encoding '{encoding}' locale 'C'".encode())
        try:
            conninfo = psycopg.conninfo.make_conninfo(server.conninfo(), dbname=name)
            migrate(conninfo)
            with connect(conninfo) as connection:
                assert connection.execute("select 'Grüße'::text").fetchone() == ("Grüße",)
        finally:
            admin.execute(f"drop database {name} with (force)".encode())
