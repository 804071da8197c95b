"""Owners whose names have to be quoted, as logins of clouds are."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.sql import call, create_pipeline, value
from tests.support.transaction import connection

__all__ = ["connection"]


@pytest.mark.parametrize("name", ["alice@example.com", "Bob", "my owner", "a.b"])
def test_an_owner_s_name_is_no_expression(connection: psycopg.Connection, name: str) -> None:
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute(f'create role "{name}" superuser; set local role "{name}"'.encode())
    connection.execute("create table documents (id int primary key, title text, content text)")
    create_pipeline(connection, embedding_table="chunks", text_config="english")
    connection.execute("update pgembedd_internal.installation set indexes_at = '-infinity', swept_at = '-infinity'")
    call(connection, "tick")
    assert [notice for notice in notices if "upkeep" in (notice or "")] == []
    assert value(connection, "select state = 'running' from pgembedd_internal.pipeline")
