"""The statistics of the words: how soon they follow the table, and a search without them."""

from __future__ import annotations

from functools import partial

import psycopg
import pytest

from tests.sql.search.test_words import by_words, make_texts, sample
from tests.support.sql import call, rows, value, work
from tests.support.waiting import eventually

NOTED = "select documents, average_length from pgembedd_internal.word_statistics"


def test_a_table_that_doubles_is_sampled_at_once(connection: psycopg.Connection) -> None:
    make_texts(connection, {})
    connection.execute("update pgembedd_internal.word_statistics set due_at = 'infinity'")

    def noted(count: int) -> bool:
        connection.execute("select pg_stat_force_next_flush()")
        call(connection, "tick")
        return rows(connection, NOTED) == [(count, 2)]

    for ids, sampled in [("1, 10", 10), ("11, 15", 10), ("16, 25", 25)]:
        connection.execute(
            f"insert into documents select n, '', 'common words', 'english' from generate_series({ids}) n"
        )
        work(connection)
        eventually(partial(noted, sampled))
        connection.execute("update pgembedd_internal.word_statistics set due_at = 'infinity'")


def test_a_sample_that_fails_is_not_taken_again_for_ten_minutes(connection: psycopg.Connection) -> None:
    make_texts(connection)
    connection.execute("update pgembedd_internal.word_statistics set documents = 0, due_at = 'infinity', changes = -1")
    connection.execute("alter function pgembedd_internal._note_words rename to gone")
    tried = "select due_at < 'infinity', documents, clock_timestamp() + interval '9 minutes' < due_at "
    eventually(
        lambda: (call(connection, "tick"), value(connection, tried + "from pgembedd_internal.word_statistics"))[1]
    )
    assert rows(connection, tried + "from pgembedd_internal.word_statistics") == [(True, 4, True)]
    connection.execute("update pgembedd_internal.word_statistics set due_at = 'infinity'")
    call(connection, "tick")
    assert rows(connection, tried + "from pgembedd_internal.word_statistics") == [(False, 4, True)]


def test_without_statistics_length_does_not_count(connection: psycopg.Connection) -> None:
    texts = {1: ("", "a password"), 2: ("", f"password {'and other words ' * 30} password")}
    make_texts(connection, {})
    assert rows(connection, NOTED) == [(0, float("inf"))]
    connection.cursor().executemany(
        "insert into documents values (%s, %s, %s, 'english')", [(key, *text) for key, text in texts.items()]
    )
    work(connection)
    assert by_words(connection, "password") == [2, 1]
    assert by_words(connection, "password other") == [2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("rows_in_german", [1, 500])
def test_a_language_of_few_rows_at_the_end_is_searched_in(connection: psycopg.Connection, rows_in_german: int) -> None:
    make_texts(connection, {}, text_config="language")
    connection.execute(
        "insert into documents select n, '', case when n > 8000 then 'zwei Häuser' else 'two houses' end, "
        "case when n > 8000 then 'german' else 'english' end from generate_series(1, 8000 + %s) n",
        [rows_in_german],
    )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    while value(connection, "select count(*) from documents where embedding is null"):
        work(connection)
    sample(connection)
    assert len(by_words(connection, "Häusern", k=1000)) == rows_in_german
    connection.execute("update documents set language = 'french' where id = 1")
    sample(connection)
    assert rows(connection, "select configs from pgembedd_internal.word_statistics") == [
        (["pg_catalog.english", "pg_catalog.french", "pg_catalog.german"],)
    ]
