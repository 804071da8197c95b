"""Search by words in a table of more rows than are ranked: rare words come first, whatever else is asked."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.search.test_words import by_words, hybrid, make_texts, sample
from tests.support.sql import value, work
from tests.support.transaction import connection

__all__ = ["connection"]

RARE = range(5_401, 5_407)


@pytest.fixture
def entries(connection: psycopg.Connection) -> psycopg.Connection:
    """6,000 rows with one word in common; six of them have another one."""
    make_texts(connection, {})
    connection.execute(
        "insert into documents select n, '', format('login by %%s %%s', case when n between %s and %s then 'kerberos' "
        "else 'password' end, n), 'english' from generate_series(1, 6000) n",
        (RARE[0], RARE[-1]),
    )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    while value(connection, "select count(*) from documents where embedding is null"):
        work(connection)
    connection.execute("analyze documents_words")
    sample(connection)
    return connection


@pytest.mark.parametrize("scan", ["enable_seqscan", "enable_bitmapscan"])
def test_rows_with_a_rare_word_are_first_however_many_are_wanted(entries: psycopg.Connection, scan: str) -> None:
    connection = entries
    connection.execute(f"set local {scan} = off")
    assert by_words(connection, "login kerberos 5403", k=1) == [5403]
    for k in (3, 6, 7, 100, 1000):
        found = by_words(connection, "login kerberos", k=k)
        assert len(found) == k
        assert set(found[:6]) <= set(RARE)
    assert {hit.key for hit in hybrid(connection, "login kerberos", k=1000) if (hit.text_rank or 99) <= 6} == set(RARE)


def test_rows_of_a_filter_without_an_index_are_read_in_the_order_of_the_table(entries: psycopg.Connection) -> None:
    """By their keys, all rows would be read in disorder."""
    entries.execute("analyze documents")
    read = "select pg_stat_get_xact_tuples_returned('documents_pkey'::regclass)"
    for words in ("login", "login kerberos"):
        before = value(entries, read)
        assert len(by_words(entries, words, filter={"content": {"$like": "%7"}}, k=20)) == 20
        assert value(entries, read) - before < 1000


def test_of_a_word_in_all_rows_the_first_rows_are_read(entries: psycopg.Connection) -> None:
    entries.execute("create index by_word on documents_words using gin (pgembedd_words)")
    read = "select pg_stat_get_xact_tuples_returned('by_word'::regclass)"
    before = value(entries, read)
    assert len(by_words(entries, "login", k=20)) == 20
    assert value(entries, read) == before
    assert by_words(entries, "kerberos", k=20) == [*RARE]
    assert value(entries, read) == before + len(RARE)


@pytest.mark.slow
def test_pages_are_cut_from_one_list(entries: psycopg.Connection) -> None:
    whole = by_words(entries, "login kerberos", k=200)
    pages = [by_words(entries, "login kerberos", k=20, skip=skip) for skip in range(0, 200, 20)]
    assert [key for page in pages for key in page] == whole
    assert len(set(whole)) == 200


@pytest.mark.slow
def test_a_query_of_many_words_is_searched_by_those_that_occur(entries: psycopg.Connection) -> None:
    addresses = " ".join(f"0x{n:08x}" for n in range(60))
    assert by_words(entries, f"{addresses} kerberos login 5403", k=3)[0] == 5403
    assert set(by_words(entries, f"{addresses} kerberos", k=10)) == set(RARE)
    assert by_words(entries, addresses) == []


@pytest.mark.slow
def test_the_window_has_a_thousand_hits(entries: psycopg.Connection) -> None:
    ends = [len(hybrid(entries, "login", k=20, skip=skip)) for skip in (0, 980, 990, 1000)]
    assert ends == [20, 20, 10, 0]


def test_a_word_that_all_rows_have_ranks_them(connection: psycopg.Connection) -> None:
    make_texts(connection, {n: ("", "login " * n + "filler " * (10 - n)) for n in range(1, 10)})
    assert by_words(connection, "login", k=3) == [9, 8, 7]
