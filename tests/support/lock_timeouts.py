"""The limits under which our functions wait for locks, told by the server and measured by no clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

WATCHED = "lock_timeout before "


@contextmanager
def lock_timeouts_before(connection: psycopg.Connection, command: str) -> Iterator[list[str]]:
    """The `lock_timeout` under which each command of a kind (`CREATE TRIGGER`) begins in this session.

    An event trigger says it before the command asks for any lock, so also of one that waits in vain.
    """
    heard: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        if notice.message_primary and notice.message_primary.startswith(WATCHED):
            heard.append(notice.message_primary.removeprefix(WATCHED))

    connection.execute(f"""
        create function public.tell_lock_timeout() returns event_trigger language plpgsql
        as $$ begin raise info '{WATCHED}%', current_setting('lock_timeout'); end $$
    """)
    connection.execute(
        sql.SQL(
            "create event trigger tell_lock_timeout on ddl_command_start when tag in ({}) "
            "execute function public.tell_lock_timeout()"
        ).format(command)
    )
    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)
        connection.execute("drop event trigger tell_lock_timeout; drop function public.tell_lock_timeout()")
