"""The SQLSTATE of each refusal: named where it is raised, listed under Errors of docs/reference/sql.md, and raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembedd.database.own_version import sql_files
from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import REFUSALS, is_refused_call
from tests.support.databases import Database, fresh_database
from tests.support.roles import Roles
from tests.support.sql import call, connected, create_pipeline, make_documents, rows

PAGE = Path(__file__).parents[2] / "docs/reference/sql.md"
ALSO_OF_SERVER = {"42501"}
OF_THE_MOMENT = {"40001", "53000", "53400", "55P03", "57014"}

# Refusals without a code, which is P0001 then, and why.
WITHOUT_CODE = {"The template has no value for {%}.": "a mistake in sql/ itself, which no caller can make"}
# Codes that are no literals: those of an error that is raised again, and of a row that says what is in the way.
COMPUTED = {"sqlstate", "taken.code"}
# Never reach a caller: they end a subtransaction.
OWN = {"PGE01", "PGE02"}

SETUP = """
    create view "a view" as select 1 as id, '' as title;
    create table keyless (title text);
    create table parent (id int primary key, title text);
    create table child (primary key (id)) inherits (parent);
    alter table documents add words text, add made halfvec(3) generated always as ('[1,2,3]'::halfvec(3)) stored,
        add embedding_next int;
    create function many(documents) returns setof text language sql as 'select $1.title';
    create schema api; create function api.search(int) returns int language sql as 'select $1';
    create domain number as int;
    create table numbered (id number primary key, title text);
"""

MADE = "select pgembedd.create_pipeline('x', 'documents', '{title}', "
SEARCHED = "select * from pgembedd.search('documents', 'x', "
VECTOR = "embedding => '[1,2,3]'"
MANY_COLUMNS = "(select jsonb_object_agg(i, i) from generate_series(1, 1001) i)"

# Causes of each code, at least one.
CAUSES = {
    "0A000": ["select pgembedd.create_pipeline('x', 'parent', '{title}')"],
    "22004": [
        "call pgembedd.wait_for_pipeline('documents', null::interval)",
    ],
    "22023": [
        f"{MADE}distance => 'hamming')",
        f"{MADE}max_attempts => null)",
        f"{SEARCHED}k => 0)",
        f'{SEARCHED}{VECTOR}, filter => \'{{"id": "x"}}\')',
        "select pgembedd.search(null::documents, 'x')",
        "select pgembedd.retry_dead_letters(reason => 'nope')",
        "select pgembedd.requeue('documents', array['\"x\"'::jsonb])",
    ],
    "25001": ["insert into documents (id) values (77); call pgembedd.wait_for_pipeline('documents', '1 s')"],
    "2BP01": ["select pgembedd.drop_pipeline('changing')"],
    "3F000": [f"{MADE}embedding_table => 'nowhere.t')", "select pgembedd.expose_search('nowhere')"],
    "42501": ["set role {reader}; select * from pgembedd.search('documents', 'x', mode => 'text')"],
    "42602": [
        "select pgembedd.create_pipeline('two words', 'documents', '{title}')",
        f"{MADE}embedding_table => 'a.b.c')",
    ],
    "42622": [f"{MADE}embedding_column => repeat('v', 64))"],
    "42701": [f"{MADE}embedding_column => 'xmin')", "select pgembedd.change_model('documents', 'new-model')"],
    "42703": [
        "select pgembedd.create_pipeline('x', 'documents', '{nope}')",
        f"{SEARCHED}{VECTOR}, filter => '{{\"nope\": 1}}')",
        """select * from pgembedd.search_many('{documents}', 'x', filter => '{"nope": 1}', mode => 'text')""",
        f"select pgembedd.ask('documents', 'what', filter => '{{\"nope\": 1}}', {VECTOR})",
        "select pgembedd.configure_answers('documents', 'x', title_column => 'nope')",
    ],
    "42704": [
        "select pgembedd.pause('nope')",
        "select pgembedd.search(null::keyless, 'x')",
        "select pgembedd.grant_search(0)",
        "select pgembedd.publish_vectors('documents', 'nope')",
        "select pgembedd_internal.release('nope', '{1}', '{1}', 0)",
        f"{MADE}embedding_column => 'e', text_config => 'nope')",
    ],
    "42710": ["select pgembedd.create_pipeline('documents', 'documents', '{title}')"],
    "42723": ["select pgembedd.expose_search('api')"],
    "428C9": [f"{MADE}dimensions => 3, embedding_column => 'made')"],
    "42804": [
        f"{MADE}embedding_column => 'words')",
        f'{SEARCHED}{VECTOR}, filter => \'{{"id": {{"$like": "x"}}}}\')',
    ],
    "42809": [
        "select pgembedd.create_pipeline('x', '\"a view\"', '{title}')",
        "select pgembedd.create_pipeline('x', 'pgembedd_internal.pipeline', '{title}')",
        "select pgembedd.create_pipeline('x', 'documents', content_function => 'many')",
        "select pgembedd.search(1, 'x')",
    ],
    "42883": ["select pgembedd.create_pipeline('x', 'documents', content_function => 'nope')"],
    "42P01": ["select pgembedd.create_pipeline('x', 'nope', '{title}')"],
    "42P07": [f"{MADE}embedding_table => 'keyless')"],
    "54000": [
        "select * from pgembedd.search('documents', repeat('x', 100001))",
        f"{SEARCHED}{VECTOR}, filter => {MANY_COLUMNS})",
    ],
    "55000": [
        "select pgembedd.create_pipeline('x', 'keyless', '{title}')",
        "select pgembedd.switch_model('documents')",
        "select pgembedd.change_model('changing', 'new-model')",
        "select * from pgembedd.search('wordless', 'x', mode => 'text')",
        "select pgembedd.process_embeddings()",
        "call pgembedd.wait_for_pipeline('wordless', '1 s')",
    ],
    "55006": [f"{MADE}dimensions => 3)"],
    "P0002": [
        "select pgembedd.similar('documents', '7')",
        "call pgembedd.wait_for_row('documents', '7', '1 s')",
        "select pgembedd.stop_answer(gen_random_uuid())",
        "select pgembedd.share_thread(gen_random_uuid(), current_user::regrole)",
        f"select pgembedd.ask('documents', 'what', thread => gen_random_uuid(), {VECTOR})",
    ],
    "40001": ["select pgembedd_internal._search_waiting(0, 'documents')"],
    "53000": ["select pgembedd.embed('x', 'documents')", "select * from pgembedd.search('documents', 'x')"],
    "53400": [f"select pgembedd.ask('documents', 'what', {VECTOR}) from generate_series(1, 102)"],
    "55P03": [
        """select pgembedd_internal.claim_changed(
           '{"type": "INSERT", "schema": "public", "table": "numbered", "record": {"id": 1}}', 30)"""
    ],
    "57014": ["call pgembedd.wait_for_pipeline('documents', '0.05 s')"],
}

# Values of arguments that a function with an argument for the pipeline needs.
NEEDED = {
    "text": "'x'", "text[]": "'{x}'", "jsonb": "'1'", "jsonb[]": "'{1}'", "interval": "'1 s'", "integer": "1",
    "boolean": "true", "anyelement": "null::documents", "uuid": "gen_random_uuid()",
}  # fmt: skip

# One makes the pipeline of that name, the other lists those that there are.
ANY_NAME = {"create_pipeline", "search_pipelines"}

OF_A_PIPELINE = """
    select p.proname, p.prokind::text, a.name, array_agg(n.name order by n.nth) filter (where n.needed),
           array_agg(n.type::text order by n.nth) filter (where n.needed), p.provariadic <> 0
    from pg_proc p, unnest(p.proargnames, p.proargtypes::regtype[]) as a(name, type), lateral (
        select i.name, i.type, i.nth, i.nth <= p.pronargs - p.pronargdefaults and i.name <> a.name as needed
        from unnest(p.proargnames, p.proargtypes::regtype[]) with ordinality as i(name, type, nth)) n
    where p.pronamespace = 'pgembedd'::regnamespace and p.proname !~ '^_'
      and a.name in ('name', 'pipeline') and a.type = 'text'::regtype group by p.oid, a.name order by 1
"""


@pytest.fixture(scope="module")
def prepared_database(server: EmbeddedPostgres, template: Database) -> Iterator[Database]:
    """Pipelines in several states, and what may be in their way. Refusals leave all as it is."""
    with fresh_database(server, template.name) as database, connected(database) as connection:
        make_documents(connection, 1)
        connection.execute(SETUP)
        create_pipeline(connection)
        create_pipeline(connection, pipeline="changing", embedding_column="changing")
        call(connection, "change_model", pipeline="changing", model="new-model")
        create_pipeline(connection, pipeline="wordless", embedding_column="wordless", text_config="none")
        call(connection, "pause", pipeline="wordless")
        create_pipeline(connection, pipeline="numbered", source="numbered", content_columns=["title"])
        connection.execute("update pgembedd_internal.pipeline set slow_until = now() + '1 h' where name = 'numbered'")
        connection.execute("update documents set embedding = '[1,2,3]'")
        yield database


@pytest.fixture
def prepared_connection(prepared_database: Database) -> Iterator[psycopg.Connection]:
    """The superuser there, in autocommit."""
    with connected(prepared_database) as connection:
        yield connection


@pytest.fixture
def reader(prepared_connection: psycopg.Connection, roles: Roles) -> Iterator[str]:
    """A role that may search, but no table."""
    name = roles.make("reader")
    call(prepared_connection, "grant_search", role=name)
    yield name
    prepared_connection.execute(f"drop owned by {name}".encode())


def statements_that_raise() -> list[tuple[str, str]]:
    """Each RAISE EXCEPTION of sql/, up to its semicolon, with the file's name."""
    found = []
    for path in sql_files():
        text = re.sub(r"(^|\s)--.*", "", path.read_text(encoding="utf-8"))
        raised = re.findall(r"\braise exception\b((?:'(?:[^']|'')*'|[^';])*);", text)
        assert len(raised) == len(re.findall(r"\braise exception\b", text)), path
        found += [(path.name, one) for one in raised]
    return found


def documented() -> dict[str, str]:
    """The table of the page: conditions by their SQLSTATE."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Errors\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w{5})` \| `(\w+)` \| .+ \|$", section, re.MULTILINE))


def test_each_refusal_names_its_condition() -> None:
    names = set()
    for file, statement in statements_that_raise():
        code = re.search(r"\berrcode = ((?:[^,']|'[^']*')+)", statement)
        if code is None:
            assert any(f"'{message}'" in statement for message in WITHOUT_CODE), (file, statement)
        elif code[1].strip() not in COMPUTED:
            written = re.findall(r"(?:^|then |else )'(\w+)'", code[1])
            assert written, (file, statement)
            names |= set(written)
    assert names - OWN == set(documented().values())


def test_the_table_has_the_codes_of_its_conditions() -> None:
    for code, name in documented().items():
        assert psycopg.errors.lookup(code).__name__ == name.title().replace("_", "")


def test_what_the_program_takes_for_a_refusal_is_the_table() -> None:
    assert documented().keys() == REFUSALS | ALSO_OF_SERVER | OF_THE_MOMENT


def test_each_code_has_a_cause() -> None:
    assert CAUSES.keys() == documented().keys()


@pytest.mark.parametrize("code", CAUSES)
def test_each_cause_raises_its_code(prepared_connection: psycopg.Connection, reader: str, code: str) -> None:
    for cause in CAUSES[code]:
        statement = cause.replace("{reader}", reader)
        with pytest.raises(psycopg.Error) as caught:
            prepared_connection.execute(statement.encode())
        diagnosis = caught.value.diag
        assert (caught.value.sqlstate, diagnosis.source_function) == (code, "exec_stmt_raise"), statement
        assert is_refused_call(diagnosis) == (code not in OF_THE_MOMENT), statement


def test_an_unknown_pipeline_is_an_undefined_object(prepared_connection: psycopg.Connection) -> None:
    """Of every public function that takes a pipeline's name."""
    found = rows(prepared_connection, OF_A_PIPELINE)
    assert len(found) > 20
    other = []
    for function, kind, argument, names, types, variadic in found:
        if function in ANY_NAME:
            continue
        given = {argument: "'nope'"} | dict(zip(names or (), (NEEDED[one] for one in types or ()), strict=True))
        arguments = [f"{name} => {written}" for name, written in given.items()]
        if variadic:
            arguments[-1] = f"variadic {arguments[-1]}"
        statement = f"{'call' if kind == 'p' else 'select'} pgembedd.{function}({', '.join(arguments)})"
        try:
            prepared_connection.execute(statement.encode())
        except psycopg.errors.UndefinedObject as error:
            if error.diag.message_primary == 'There is no pipeline "nope".':
                continue
            other.append((statement, str(error)))
        except psycopg.Error as error:
            other.append((statement, str(error)))
        else:
            other.append((statement, "it is taken"))
    assert not other


@pytest.mark.parametrize(
    "statement",
    [
        "do $$ begin perform nope from documents; end $$",
        "do $$ begin perform from nope; end $$",
        "do $$ begin perform 'nope'::regrole; end $$",
        "do $$ begin perform nope(); end $$",
        "do $$ begin perform now() at time zone body from (values ('a row''s text')) rows (body); end $$",
    ],
)
def test_an_error_of_the_server_is_no_refusal(prepared_connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        prepared_connection.execute(statement.encode())
    assert caught.value.sqlstate in REFUSALS
    assert not is_refused_call(caught.value.diag)
