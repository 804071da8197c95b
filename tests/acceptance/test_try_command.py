"""`pgembedd try`: a search of a sample of a table, in memory, by a role that may only read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.search import trial
from tests.cli.test_confirmation import answered
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database
from tests.support.roles import Roles, conninfo_as, temporary_roles

TABLES = """
create table articles (id int primary key, title text, body text, secret text);
insert into articles values
    (1, 'Passwords', 'How to reset a forgotten password and log in again', 's'),
    (2, 'Bread', 'Mix flour, water and salt, and bake the dough in the oven', 's'),
    (3, 'Planets', 'Jupiter is the largest planet of the solar system', 's'),
    (4, null, ' ', 's');
create table pairs (a int, b text, body text, embedding text, primary key (b, a));
insert into pairs values (1, 'x', 'The cat sleeps'), (2, 'y', 'Interest rates are rising');
create table long (id int primary key, body text);
insert into long select 1, 'The first. ' || string_agg('word' || n, ' ') from generate_series(1, 3000) n;
create table nothing (id int primary key, body text);
create table keyless (body text);
create view seen as select * from articles;
create schema closed;
create table closed.notes (id int primary key, body text);
"""


@pytest.fixture(scope="module")
def shop(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database without a schema of pgembedd."""
    with fresh_database(server) as database:
        with database.connect() as connection:
            connection.execute(TABLES)
        yield database


@pytest.fixture(scope="module")
def reader(server: EmbeddedPostgres, shop: Database) -> Iterator[str]:
    """The connection string of a role that may read some columns, and whose transactions are read-only."""
    with temporary_roles(server) as roles:
        role = roles.make("reader")
        with shop.connect() as admin:
            admin.execute(
                f"grant select (id, title, body) on articles to {role};"
                f"grant select on pairs, long, nothing, keyless, seen to {role};"
                f"alter role {role} set default_transaction_read_only = on; revoke create on schema public from public;"
                f"revoke temporary on database {shop.name} from public".encode()
            )
        yield conninfo_as(shop, role)
        with shop.connect() as admin:
            admin.execute(f"drop owned by {role}".encode())


def contents(database: Database) -> list[tuple[object, ...]]:
    """All objects of a database, and how many writes there were."""
    with database.connect() as connection:
        return connection.execute(
            "select oid::text, relname, relkind::text from pg_class union all select oid::text, nspname, 'n' "
            "from pg_namespace order by 1, 2"
        ).fetchall()


def test_a_sample_is_searched_and_nothing_is_written(shop: Database, reader: str) -> None:
    before = contents(shop)
    done = pgembedd("try", "--table", "public.articles", "--columns", "title,body", "I can't sign in", database=reader)
    assert done.code == 0, done.err
    header, first, *_ = done.out.splitlines()
    assert header.split() == ["similarity", "score", "key"]
    assert first.split()[2:4] == ["1", "Passwords"]
    assert "3 rows of public.articles, embedded in memory with all-MiniLM-L6-v2." in done.err
    assert "select pgembedd.create_pipeline('articles', 'public.articles', array['title', 'body']" in done.out
    assert "$ pgembedd migrate" in done.out
    assert contents(shop) == before


def test_the_call_that_is_printed_makes_the_pipeline(server: EmbeddedPostgres, database: Database) -> None:
    with database.connect() as connection:
        connection.execute(TABLES)
        again = (("pairs", "body_embedding"), ("long", None), ("pairs", "body_embedding_2"), ("long", None))
        for number, (table, column) in enumerate(again):
            done = pgembedd("try", "--table", table, "--columns", "body", "--json", "cat", database=database.conninfo)
            assert done.code == 0, done.err
            connection.execute(json.loads(done.out)["create_pipeline"])
            made = connection.execute(
                "select embedding_column, embedding_table is null from pgembedd.pipelines where pipeline = %s",
                [table if number < 2 else f"{table}_2"],
            ).fetchone()
            assert made == (column, column is not None)


def test_a_role_that_may_not_see_the_pipelines(roles: Roles, database: Database) -> None:
    role = roles.make("reader")
    with database.connect() as connection:
        connection.execute(TABLES)
        connection.execute(f"grant select on pairs to {role}".encode())
    arguments = ("try", "--table", "pairs", "--columns", "body", "--json", "cat")
    done = pgembedd(*arguments, database=conninfo_as(database, role))
    assert "create_pipeline('pairs'," in json.loads(done.out)["create_pipeline"]


def test_json_is_one_object_with_keys_as_a_search_has_them(reader: str) -> None:
    done = pgembedd("try", "--table", "pairs", "--columns", "body", "-n", "1", "--json", "kitten", database=reader)
    found = json.loads(done.out)
    assert found["table"] == "public.pairs"
    assert (found["sampled"], found["truncated"]) == (2, 0)
    assert [(hit["key"], hit["snippet"]) for hit in found["hits"]] == [({"a": 1, "b": "x"}, "The cat sleeps")]
    assert 0 < found["hits"][0]["similarity"] <= 1


def test_rows_are_those_that_the_role_may_see(roles: Roles, empty_database: Database) -> None:
    role = roles.make("tenant")
    with empty_database.connect() as admin:
        admin.execute(TABLES)
        admin.execute(
            f"grant select on articles to {role}; alter table articles enable row level security;"
            f"create policy own on articles to {role} using (id = 2)".encode()
        )
    arguments = ("try", "--table", "articles", "--columns", "body", "--json", "password")
    found = json.loads(pgembedd(*arguments, database=conninfo_as(empty_database, role)).out)
    assert [hit["key"] for hit in found["hits"]] == [2]
    with empty_database.connect() as admin:
        admin.execute("drop policy own on articles")
    refused = pgembedd(*arguments, database=conninfo_as(empty_database, role)).refused(2)
    assert refused == "pgembedd: public.articles has no row with a text in body that this role may read."


@pytest.mark.parametrize(
    ("table", "columns", "said"),
    [
        ("missing", "body", "There is no table missing: name it with its schema, and quoted as in SQL"),
        ("a.b.c.d", "body", "There is no table a.b.c.d:"),
        ("articles", "body,text", "public.articles has no column text; it has: id, title, body, secret."),
        ("articles", "secret", "may not read public.articles: grant select (secret) on public.articles to reader_"),
        ("nothing", "body", "public.nothing has no row with a text in body that this role may read."),
        ("pairs", "embedding", "public.pairs has no row with a text in embedding that this role may read."),
        ("keyless", "body", "public.keyless has no primary key, by which a pipeline names its rows:"),
        ("seen", "body", "public.seen is a view, not a table."),
        ("closed.notes", "body", "closed.notes may not be looked at: permission denied for schema closed."),
    ],
)
def test_what_cannot_be_tried_is_a_sentence(reader: str, table: str, columns: str, said: str) -> None:
    done = pgembedd("try", "--table", table, "--columns", columns, "a text", database=reader)
    assert said in done.refused(2)


def test_without_a_terminal_a_text_is_needed(reader: str) -> None:
    done = pgembedd("try", "--table", "articles", "--columns", "body", database=reader)
    assert done.code == 2
    assert "Give a TEXT to search for" in done.err


def test_on_a_terminal_it_asks_for_queries(reader: str) -> None:
    code, said = answered("kitten\n", "try", "--table", "pairs", "--columns", "body", DATABASE_URL=reader)
    assert code == 0, said
    assert said.count("Search for (empty: end)") == 2
    assert said.index("The cat sleeps") < said.index("Interest rates") < said.index("select pgembedd.create_pipeline(")


def test_a_large_table_is_read_in_part(shop: Database) -> None:
    with shop.connect() as connection:
        connection.execute(
            "create table large (id int primary key, body text);"
            "insert into large select n, repeat('word ', 100) from generate_series(1, 60000) n; analyze large"
        )
    from pgembedd.database.connect import connect

    with connect(shop.conninfo, autocommit=True) as connection:
        table = trial.find_table(connection, "large", ["body"])
        assert trial._percent(table) < 10
        rows = trial.sample(connection, table, ["body"])
        assert len({key for key, _ in rows}) == trial.MOST_ROWS
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), trial._reading(connection):
            connection.execute("create table written ()")
