"""A stand-in for the extension pg_net, which no registry has: its schema, its signature, and who carries requests.

What is like pg_net 0.20: `net.http_post` and its defaults, `net.http_request_queue` and `net._http_response` with their
columns, that a request leaves after its transaction has committed, that none is ever repeated. It is no coverage of
pg_net itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from psycopg.types.json import Jsonb

from tests.support.databases import Database
from tests.support.http import PLAIN

SCHEMA = """
create schema net;
create table net.http_request_queue (
    id bigserial, method text not null, url text not null, headers jsonb, body bytea,
    timeout_milliseconds integer not null);
create table net._http_response (
    id bigint, status_code integer, content_type text, headers jsonb, content text, timed_out boolean, error_msg text,
    created timestamptz not null default now());
create function net.http_post(
    url text, body jsonb default '{}', params jsonb default '{}',
    headers jsonb default '{"Content-Type": "application/json"}', timeout_milliseconds integer default 5000
) returns bigint language sql security definer set search_path = '' as $$
    insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
    values ('POST', url, headers, pg_catalog.convert_to(body::text, 'UTF8'), timeout_milliseconds) returning id
$$;
"""
HERE = "select to_regclass('net.http_request_queue') is not null"
TAKE = "delete from net.http_request_queue returning id, url, headers, body, timeout_milliseconds"
ANSWER = """
insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
values (%s, %s, %s, %s, %s, false, %s)
"""


def install(connection: psycopg.Connection) -> None:
    """The stand-in's schema."""
    connection.execute(SCHEMA)


def carry(connection: psycopg.Connection, client: httpx.Client) -> int:
    """Send what is queued, one after the other, and note the answers; how many there were."""
    requests = connection.execute(TAKE).fetchall()
    for number, url, headers, body, timeout_ms in requests:
        given = {name: text for name, text in headers.items() if text is not None}
        try:
            answer = client.post(url, content=bytes(body), headers=given, timeout=timeout_ms / 1000)
        except httpx.TransportError as error:
            connection.execute(ANSWER, (number, None, None, None, None, type(error).__name__))
        else:
            values: tuple[Any, ...] = (answer.status_code, answer.headers["content-type"], Jsonb(dict(answer.headers)))
            connection.execute(ANSWER, (number, *values, answer.text, None))
    return len(requests)


@contextmanager
def carrying(database: Database) -> Iterator[None]:
    """A thread that carries what is committed, as pg_net's background worker does."""
    ended = threading.Event()

    def run() -> None:
        with database.connect() as connection, httpx.Client(trust_env=False, verify=PLAIN) as client:
            while not ended.is_set():
                here = connection.execute(HERE).fetchone() == (True,)
                if not here or not carry(connection, client):
                    ended.wait(0.05)

    thread = threading.Thread(target=run, name="pg_net stand-in")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
