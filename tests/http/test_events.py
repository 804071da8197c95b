"""`GET /api/v1/events`: over a real socket, from a real database, told by a real worker."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import psycopg
import pytest
from structlog.typing import EventDict

from pgembedd.database.connection import Connection
from pgembedd.database.event_channel import CHANNEL, EventLog
from pgembedd.database.listener import Listener
from pgembedd.database.sessions import Sessions
from pgembedd.http.streams import event_hub, sse
from pgembedd.model import Session
from pgembedd.telemetry.observer import Observer
from tests.support.databases import Database
from tests.support.documents import insert, make_documents
from tests.support.embedders import Wrapped, only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.sql import end_sessions, value
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import worker_thread

LISTENS = """
    select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgembedd listen'
"""


def nothing(name: str) -> Any:
    """A loader for a service that embeds nothing here."""
    raise AssertionError(name)


class Stream:
    """An open /api/v1/events, line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()
        self.ids: list[str] = []

    def block(self) -> dict[str, str]:
        """The next block; a comment stands under ""."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line and found:
                return found
            name, _, rest = line.partition(":")
            found[name] = rest.removeprefix(" ")
        raise EOFError

    def event(self) -> dict[str, Any]:
        """The next event, its word and its id in place. Heartbeats keep the connection open, but not for ever."""
        silence = 0
        while "event" not in (block := self.block()):
            silence += block.get("") == "heartbeat"
            assert silence < 5, "nothing came"
        fields: dict[str, Any] = json.loads(block["data"])
        assert fields["event"] == block["event"]
        self.ids.append(block.get("id", ""))
        return fields

    def ends(self) -> bool:
        """Whether nothing but comments comes, and then the end."""
        with pytest.raises(EOFError):
            self.event()
        return True


@contextmanager
def following(client: httpx.Client, query: str = "", **headers: str) -> Iterator[Stream]:
    """Follow the events; from here on nothing is missed."""
    with client.stream("GET", f"/api/v1/events{query}", headers=headers) as response:
        assert response.status_code == 200, response.read()
        opened = Stream(response)
        while opened.block().get("") != "listening":
            pass
        yield opened


@pytest.fixture
def service(database: Database) -> Iterator[httpx.Client]:
    """A service that follows the test's database."""
    with serving(nothing, database.conninfo) as client:
        yield client


def tell(connection: psycopg.Connection, event: str = "paused", pipeline: str = "documents", **fields: Any) -> None:
    """An event of another program, in the shape of ours."""
    connection.execute("select pgembedd_internal._notify(%s, 1, %s, %s)", [event, json.dumps(fields), pipeline])


@pytest.mark.slow
def test_a_workers_stores_are_seen(database: Database, connection: psycopg.Connection, model: Session) -> None:
    with serving(nothing, database.conninfo) as client, following(client) as opened:
        assert opened.response.headers["content-type"].startswith("text/event-stream")
        assert opened.response.headers["cache-control"] == "no-cache"
        assert opened.response.headers["x-accel-buffering"] == "no"
        make_documents(connection)
        assert opened.event()["event"] == "created"
        with worker_thread(database, only(Wrapped(model))):
            insert(connection, range(1, 4))
            written = 0
            while written < 3:
                event = opened.event()
                assert (event["event"], event["pipeline"], event["pipeline_id"]) == ("stored", "documents", 1)
                written += event["written"]
        assert len(set(opened.ids)) == len(opened.ids)


def test_filters(service: httpx.Client, connection: psycopg.Connection) -> None:
    query = "?event=dead_letter&event=attempt_failed&pipeline=one&pipeline=two%20three"
    with following(service, query) as opened:
        tell(connection, "paused", "one")
        tell(connection, "attempt_failed", "other")
        tell(connection, "attempt_failed", "one", n=1)
        tell(connection, "dead_letter", "two three", n=2)
        assert [opened.event()["n"] for _ in range(2)] == [1, 2]


def test_an_event_that_there_is_not_is_refused(service: httpx.Client) -> None:
    answer = service.get("/api/v1/events?event=stored&event=secret")
    assert (answer.status_code, answer.json()["error"]) == (422, "unknown_event")
    assert "dead_letter" in answer.json()["message"]
    assert "secret" not in answer.text


def test_what_others_send_is_no_event(service: httpx.Client, connection: psycopg.Connection) -> None:
    """Nor is an event that was told before, nor one from before the reader came."""
    tell(connection, n=1)
    old = value(connection, "select max(nth) from pgembedd_internal.event")
    odd = ["", "x", "[]", "{}", "[" * 7000, '{"event": "stored"}', '{"nth": NaN}', '{"nth": [1]}', '{"nth": true}']
    odd += [f'{{"event": "stored", "nth": {number}}}' for number in (old, old + 1000, -1, "1" * 30, "1" * 5000)]
    with following(service) as opened:
        for payload in odd:
            connection.execute("select pg_notify('pgembedd_events', %s)", [payload])
        tell(connection, n=2)
        event = opened.event()
        assert event["n"] == 2
        for _ in range(3):
            connection.execute("select pg_notify('pgembedd_events', %s)", [json.dumps(event | {"pipeline": "forged"})])
        tell(connection, n=3)
        assert opened.event()["n"] == 3


@pytest.mark.slow
def test_an_event_that_could_not_be_looked_up_is_told_later(
    database: Database, connection: psycopg.Connection, log: list[EventDict]
) -> None:
    impatient = psycopg.conninfo.make_conninfo(database.conninfo, options="-c statement_timeout=100ms")
    reads, listener = Connection(Sessions(impatient, "events"), threading.Event()), Listener(database.conninfo)
    events, heard = EventLog(reads), list[str | None]()
    with ThreadPoolExecutor(1) as pool, database.connect(autocommit=False) as other:
        events.begin()
        listener.subscribe(CHANNEL, heard.append)
        eventually(lambda: heard == [None])
        tell(connection, n=1)
        eventually(lambda: len(heard) == 2)
        other.execute("lock table pgembedd_internal.event")
        read = pool.submit(events.read, heard)
        eventually(lambda: len(named(log, "database_busy")) >= 2)
        other.rollback()
        assert [event.fields["n"] for event in read.result(PATIENCE_S)] == [1]
    listener.close()
    reads.close()


@pytest.mark.slow
def test_a_heartbeat_comes_while_nothing_happens(database: Database) -> None:
    with serving(nothing, database.conninfo, http_heartbeat_s=0.5) as client, following(client) as opened:
        assert [opened.block() for _ in range(2)] == [{"": "heartbeat"}] * 2


def test_a_reader_that_comes_back_misses_nothing(service: httpx.Client, connection: psycopg.Connection) -> None:
    with following(service) as opened:
        tell(connection, n=1)
        opened.event()
    for n in range(2, 5):
        tell(connection, n=n)
    with following(service, **{"last-event-id": opened.ids[-1]}) as again:
        assert [again.event()["n"] for _ in range(3)] == [2, 3, 4]


@pytest.mark.parametrize("last", ["0-1", "nonsense", "18f-" + "9" * 5000, "-", "18f-²"])
def test_a_reader_that_comes_too_late_is_told_of_the_gap(
    service: httpx.Client, connection: psycopg.Connection, last: str
) -> None:
    with service.stream("GET", "/api/v1/events", headers={b"last-event-id": last.encode()}) as response:
        opened = Stream(response)
        assert opened.event()["event"] == "gap"
        eventually(lambda: value(connection, LISTENS) == 1)


@pytest.mark.slow
def test_a_gap_is_told_after_the_database_was_away(service: httpx.Client, connection: psycopg.Connection) -> None:
    with following(service, "?event=stored") as opened:
        assert end_sessions(connection, "application_name = 'pgembedd listen'") == 1
        assert opened.event()["event"] == "gap"
        tell(connection, "stored", n=1)
        assert opened.event()["n"] == 1


@pytest.mark.slow
def test_somebody_listens_only_while_there_is_a_reader(
    service: httpx.Client, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "LINGER_S", 0.0)
    to_events, to_others = (f"{LISTENS} and query = '{word} \"pgembedd_events\"'" for word in ("listen", "unlisten"))
    assert value(connection, to_events) == 0
    # Before a reader comes: of two channels at once either may be the last.
    to_requests = f"{LISTENS} and query = 'listen \"pgembedd_embed_requests\"' and state = 'idle'"
    eventually(lambda: value(connection, to_requests) == 1)
    for n in range(2):
        with following(service) as one, following(service) as other:
            assert value(connection, to_events) == 1
            tell(connection, n=n)
            assert one.event()["n"] == other.event()["n"] == n
        eventually(lambda: value(connection, to_others) == 1)
    assert value(connection, LISTENS) == 1, "all that this process hears"


class Requests(Observer):
    """Remembers how long each request took."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int, float]] = []

    def request_ended(self, _method: str, route: str, status: int, seconds: float, _traceparent: str | None) -> None:
        """One is answered."""
        self.ended.append((route, status, seconds))


@pytest.mark.slow
def test_a_stream_that_stays_open_is_no_slow_request(database: Database) -> None:
    requests = Requests()
    with serving(nothing, database.conninfo, observer=requests, http_heartbeat_s=0.5) as client:
        asked_at = time.monotonic()
        with following(client) as opened:
            answer_s = time.monotonic() - asked_at
            opened.block()
        eventually(lambda: requests.ended)
    ((route, status, seconds),) = requests.ended
    assert (route, status) == ("/api/v1/events", 200)
    assert seconds <= answer_s


def test_too_many_readers(database: Database) -> None:
    with serving(nothing, database.conninfo, http_max_listeners=1) as client:
        with following(client):
            answer = client.get("/api/v1/events")
            assert (answer.status_code, answer.json()["error"]) == (503, "busy")
            assert int(answer.headers["retry-after"]) > 0
        eventually(lambda: _taken(client))


def _taken(client: httpx.Client) -> bool:
    with client.stream("GET", "/api/v1/events") as response:
        return response.status_code == 200


def test_events_are_for_administrators(database: Database) -> None:
    with serving(nothing, database.conninfo, http_token=TOKEN) as client:
        assert client.get("/api/v1/events", headers={"authorization": "Bearer wrong"}).status_code == 401
        with following(client):
            pass


def test_without_a_database_there_are_no_events() -> None:
    with serving(nothing) as client:
        answer = client.get("/api/v1/events")
    assert (answer.status_code, answer.json()["error"]) == (501, "no_events")


def named(log: list[EventDict], event: str) -> list[EventDict]:
    return [one for one in list(log) if one["event"] == event]


@contextmanager
def deaf(client: httpx.Client) -> Iterator[socket.socket]:
    """A client that asks for events and reads no more once they are announced."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        opened.settimeout(PATIENCE_S)
        opened.connect((client.base_url.host, client.base_url.port or 0))
        opened.sendall(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = b""
        while b": listening" not in received:
            part = opened.recv(1000)
            assert part, received
            received += part
        yield opened


def everything(opened: socket.socket) -> bytes:
    """What is left in a connection until its end, or until it is broken off."""
    parts = []
    with suppress(ConnectionResetError):
        while part := opened.recv(1_000_000):
            parts.append(part)
    return b"".join(parts)


def fill(connection: psycopg.Connection, reader: Stream, done: Callable[[], bool]) -> int:
    """Large events, all of which `reader` gets, until it is `done`; how many."""
    for told in range(0, 20_000, 10):
        connection.execute(
            "select pgembedd_internal._notify('paused', 1, jsonb_build_object('n', %s + i, 'filling', "
            "repeat('x', 7000)), 'd')"
            " from generate_series(1, 10) i",
            [told],
        )
        assert [reader.event()["n"] for _ in range(10)] == list(range(told + 1, told + 11))
        if done():
            return told + 10
    raise AssertionError("the other reader was never dropped")


@pytest.mark.slow
def test_a_slow_reader_gets_what_it_had_and_no_more(
    database: Database, connection: psycopg.Connection, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "HISTORY", 20)
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", PATIENCE_S)
    with serving(nothing, database.conninfo, http_max_listeners=2) as client, following(client) as quick:
        with deaf(client) as slow:
            told = fill(connection, quick, lambda: bool(named(log, "events_reader_dropped")))
            received = everything(slow).decode()
            had = [int(n) for n in re.findall(r'"n": (\d+)', received)]
            assert had == list(range(1, len(had) + 1)), "in order, none left out before the end"
            assert len(had) < told
            assert '"event": "too_slow"' in received
            assert received.endswith("\r\n0\r\n\r\n"), "an end, not a break"
        tell(connection, n=0)
        assert quick.event()["n"] == 0
        eventually(lambda: _taken(client))


@pytest.mark.slow
def test_a_reader_that_reads_nothing_is_cut_off(
    database: Database, connection: psycopg.Connection, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", 0.5)
    with (
        serving(nothing, database.conninfo, http_max_listeners=2) as client,
        following(client) as quick,
        deaf(client) as slow,
    ):
        fill(connection, quick, lambda: bool(named(log, "events_reader_cut")))
        eventually(lambda: _taken(client))  # its place is free though it is still there
        assert not everything(slow).endswith(b"\r\n0\r\n\r\n")


@pytest.mark.slow
def test_the_service_stops_whoever_follows(
    database: Database,
    connection: psycopg.Connection,
    log: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(event_hub, "HISTORY", 20)
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr("pgembedd.http.server.DRAIN_S", PATIENCE_S)
    with ExitStack() as outlasting:
        with serving(nothing, database.conninfo) as client:
            other = outlasting.enter_context(
                httpx.Client(base_url=client.base_url, timeout=60, trust_env=False, verify=PLAIN)
            )
            reader = outlasting.enter_context(following(other))
            outlasting.enter_context(deaf(client))
            fill(connection, reader, lambda: bool(named(log, "events_reader_dropped")))
        assert reader.ends()
    assert [one["stopping"] for one in named(log, "events_reader_cut")] == [True]
    assert "Cancel" not in caplog.text, "uvicorn had to end what did not end by itself"
    eventually(lambda: value(connection, LISTENS) == 0)
