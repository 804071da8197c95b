"""The database goes away in the middle of an answer and comes back: the language model is not asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pgembedd.database.migrate import migrate
from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.answers.test_answerer import DONE, answering, finished, queue, said, shown, streamed
from tests.support.databases import Database, fresh_database
from tests.support.postgres_versions import server_of_version
from tests.support.servers.ollama import StandInOllama, ollama
from tests.support.sql import value
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["ollama"]

LEASE_S = 1


@pytest.fixture
def own() -> Iterator[tuple[EmbeddedPostgres, Database]]:
    """A server that a test may stop, and a database of it."""
    with server_of_version() as server, fresh_database(server) as database:
        migrate(database.conninfo)
        yield server, database


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["while it is away", "afterwards"])
@pytest.mark.parametrize("away_s", [0.0, 3.0 * LEASE_S], ids=["within the lease", "longer"])
def test_an_outage_costs_no_second_request(
    own: tuple[EmbeddedPostgres, Database], ollama: StandInOllama, away_s: float, ends: str
) -> None:
    server, database = own
    stopped, back = threading.Event(), threading.Event()

    def wait_for(event: threading.Event) -> Callable[[], object]:
        return lambda: event.wait(PATIENCE_S)

    last = [*said(" [1]."), DONE]
    ending = last if ends == "while it is away" else [wait_for(back), *last]
    ollama.answer = lambda _: streamed(*said("Open"), wait_for(stopped), *said(" the settings"), *ending)
    with database.connect() as connection:
        one = queue(connection, "How?", "Open the settings.")
    with answering(database, ollama.url, lease_s=LEASE_S):
        with database.connect() as connection:
            deltas = "select count(*) from pgembedd.answer_events where event = 'delta'"
            eventually(lambda: value(connection, deltas) == 1)
            # Its reply is on the way: else the worker would not know, and write the delta once more.
            idle = "select bool_and(state = 'idle') from pg_stat_activity where application_name = 'pgembedd ask'"
            eventually(lambda: value(connection, idle))
        server.stop("immediate")
        stopped.set()
        time.sleep(away_s)  # the lease is a time of the server's
        server.start()
        back.set()
        with database.connect() as connection:
            state = finished(connection, one)
            told = [data["text"] for _, event, data in shown(connection, one) if event == "delta"]
    assert (state[0], state[1], state[4]) == ("complete", "Open the settings [1].", 1)
    assert "".join(told) == "Open the settings [1]."
    assert len(ollama.received) == 1
