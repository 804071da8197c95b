"""Jobs that the guide's own SQL posts are processed as its Edge Function does it; nothing is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest

from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from tests.support.databases import Database
from tests.support.documents import insert, make_documents
from tests.support.embedders import Gate, Wrapped, only
from tests.support.guide import INSERT, follow_guide, guide_table, posted, process_as_the_guide
from tests.support.http import PLAIN, serving
from tests.support.pg_net_standin import carry, install
from tests.support.prepared import prepared
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import column, rows, value

PATH = "/functions/v1/embed"
WITHOUT_VECTOR = "select id from documents where embedding is null order by id"


@prepared
def guide(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection)


@pytest.fixture
def client(database: Database, model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), database.conninfo) as opened:
        yield opened


@contextmanager
def while_embedding(database: Database, model: Session, work: Callable[[], Any]) -> Iterator[httpx.Client]:
    """A client of a service that runs `work` while its model has the texts."""

    def hook(_texts: Sequence[Any]) -> None:
        work()

    with serving(only(Wrapped(model, on_result=hook)), database.conninfo) as opened:
        yield opened


def errors(answer: httpx.Response) -> dict[int, str]:
    """The sentences of the failed jobs, by the row's id."""
    failed = {job["id"]: job["error"] for job in answer.json()["failedJobs"]}
    assert answer.status_code == (207 if failed else 200), answer.text
    return failed


def waiting(connection: psycopg.Connection) -> list[Any]:
    """The ids in the guide's queue."""
    return column(connection, "select message -> 'id' from pgmq.q_embedding_jobs order by msg_id")


@pytest.mark.slow
def test_the_guides_own_sql_needs_no_change(database: Database, guide: psycopg.Connection, model: Session) -> None:
    def load(_name: str) -> Embedder:
        return Wrapped(model)

    install(guide)
    guide.execute(
        "insert into documents (id, title, content) select i, 'one', 'text ' || i from generate_series(1, 25) i"
    )
    with serving(load, database.conninfo) as client:
        process_as_the_guide(guide, str(client.base_url).rstrip("/"))
        guide.execute("select util.process_embeddings()")
        with httpx.Client(trust_env=False, verify=PLAIN) as carrier:
            assert carry(guide, carrier) == 3
    answers = rows(guide, "select status_code, headers, content::jsonb from net._http_response order by id")
    assert [(status, headers["x-completed-jobs"], headers["x-failed-jobs"]) for status, headers, _ in answers] == [
        (200, "10", "0"),
        (200, "10", "0"),
        (200, "5", "0"),
    ]
    assert [job["id"] for *_, body in answers for job in body["completedJobs"]] == list(range(1, 26))
    assert column(guide, WITHOUT_VECTOR) == waiting(guide) == []
    stored = value(guide, "select embedding::vector::real[] from documents where id = 7")
    expected = model.run("# one\n\ntext 7")
    assert np.dot(stored, expected) > 0.999
    assert np.linalg.norm(stored) == pytest.approx(1, abs=1e-3)
    assert value(guide, "select count(*) from pgembedd_internal.pipeline") == 0


def test_jobs_of_both_kinds_are_answered_in_their_order(guide: psycopg.Connection, client: httpx.Client) -> None:
    make_documents(guide, "ours")
    insert(guide, [1], table="ours")
    guide.cursor().executemany(INSERT, [(1,), (2,)])
    first, second = posted(guide)
    ours = value(
        guide, "select message || jsonb_build_object('jobId', msg_id, 'queue', 'pgembedd_fresh', 'readCt', read_ct) "
        "from pgmq.q_pgembedd_fresh"
    )  # fmt: skip
    jobs = [first, ours, {"id": 9, "jobId": "x"}, second, "no job"]
    answer = client.post(PATH, json=jobs)
    assert answer.json()["completedJobs"] == [first, ours, second], answer.text
    assert [job["error"].split(":")[0] for job in answer.json()["failedJobs"]] == ["This is no job"] * 2


@pytest.mark.parametrize("key", ["uuid primary key", "text primary key", "bigint primary key", "numeric primary key"])
def test_ids_of_other_types(connection: psycopg.Connection, client: httpx.Client, key: str) -> None:
    follow_guide(connection)
    guide_table(connection, key=key)
    given = {"uuid": "00000000-0000-0000-0000-000000000001", "text": "it's %s", "bigint": 2**62, "numeric": "1.10"}
    connection.execute(INSERT, [given[key.split()[0]]])
    assert errors(client.post(PATH, json=posted(connection))) == {}
    assert column(connection, WITHOUT_VECTOR) == []


def test_partitions_and_quoted_names(connection: psycopg.Connection, client: httpx.Client) -> None:
    """The trigger of a partitioned table sends the name of the partition."""
    follow_guide(connection)
    connection.execute('create schema "My Schema"')
    guide_table(
        connection, "It's", schema="My Schema", function="My Schema.In Put", column='the "vec"', vector="vector(384)",
        partitioned=True,
    )  # fmt: skip
    connection.execute("""insert into "My Schema"."It's" (id, title, content) values (1, 'a', 'b'), (11, 'c', 'd')""")
    jobs = posted(connection)
    assert [job["table"] for job in jobs] == ["It's 1", "It's 2"]
    assert errors(client.post(PATH, json=jobs)) == {}
    missing = """select count(*) from "My Schema"."It's" t where t."the ""vec\""" is null"""
    assert value(connection, missing) == 0


def test_what_has_no_content_is_cleared_and_what_is_gone_is_done(
    guide: psycopg.Connection, client: httpx.Client
) -> None:
    guide.cursor().executemany(INSERT, [(each,) for each in range(1, 4)])
    assert errors(client.post(PATH, json=posted(guide))) == {}
    guide.execute("update documents set title = null where id = 1")
    guide.execute("update documents set content = 'other' where id = 3; delete from documents where id = 3")
    guide.execute("create or replace function embedding_input(one documents) returns text language sql immutable "
                  "as $$ select case when one.id <> 2 then '# ' || one.title else E' \\n' end $$")  # fmt: skip
    guide.execute("update documents set content = 'anything' where id = 2")
    answer = client.post(PATH, json=posted(guide))
    assert answer.headers["x-completed-jobs"] == "3"
    assert column(guide, WITHOUT_VECTOR) == [1, 2]
    assert waiting(guide) == []


def test_a_row_that_changes_meanwhile_stays_in_the_queue(
    database: Database, guide: psycopg.Connection, model: Session
) -> None:
    guide.cursor().executemany(INSERT, [(1,), (2,), (3,)])

    def change() -> None:
        with database.connect() as other:
            other.execute("update documents set content = 'new' where id = 1; delete from documents where id = 2")

    with while_embedding(database, model, change) as client:
        answer = client.post(PATH, json=posted(guide))
    assert errors(answer) == {1: "Its row changed meanwhile; it waits in the queue."}
    assert column(guide, WITHOUT_VECTOR) == [1]
    assert waiting(guide) == [1, 1], "its own message, and that of the change"


def test_the_message_decides(guide: psycopg.Connection, client: httpx.Client) -> None:
    guide.cursor().executemany(INSERT, [(each,) for each in range(1, 5)])
    jobs = posted(guide)
    jobs[0]["id"] = 2
    jobs[1]["embeddingColumn"] = "other"
    guide.execute("select pgmq.delete('embedding_jobs', %s::bigint)", [jobs[2]["jobId"]])
    answer = client.post(PATH, json=jobs)
    different = "The message of this jobId is about something else than what was posted."
    assert [job["error"] for job in answer.json()["failedJobs"]] == [different, different]
    assert [job["id"] for job in answer.json()["completedJobs"]] == [3, 4]
    assert column(guide, WITHOUT_VECTOR) == [1, 2, 3]
    assert waiting(guide) == [1, 2]


IMPORT = "or run `pgembedd import supabase`."
INSTEAD = f"first in PGEMBEDD_HTTP_MODELS, {IMPORT}"
OWNER = "change its owner"

FAILING = (
    "create or replace function embedding_input(one documents) returns text language plpgsql as $$ "
    "begin if one.id = 2 then raise exception 'secret %', one.content; end if; return one.content; end $$"
)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (FAILING, "It failed (RaiseException); it waits in the queue."),
        ("alter table documents rename to letters", "There is no table public.documents."),
        ("drop function embedding_input", "There is no function embedding_input that takes a row of public.documents."),
        (
            "alter table documents alter embedding type halfvec(1536)",
            f'"embedding" has 1536 dimensions, but all-MiniLM-L6-v2 makes 384: name the model of its vectors {INSTEAD}',
        ),
        (
            "alter table documents drop embedding",
            'public.documents has no column "embedding" of the type halfvec or vector.',
        ),
        ("alter table documents rename id to number", "public.documents has no column id."),
    ],
)
def test_a_job_that_cannot_be_done_fails_alone(
    guide: psycopg.Connection, client: httpx.Client, damage: str, sentence: str
) -> None:
    guide_table(guide, "others", function="other_input")
    guide.execute("insert into others (id, title, content) values (1, 'one', 'text')")
    guide.execute(INSERT, [2])
    guide.execute(damage.encode())
    answer = client.post(PATH, json=posted(guide))
    assert errors(answer) == {2: sentence}
    assert "secret" not in answer.text.replace('"content"', "")
    assert value(guide, "select embedding is not null from others")
    assert waiting(guide) == [2]


def test_a_text_that_the_model_refuses_fails_alone(
    database: Database, guide: psycopg.Connection, model: Session
) -> None:
    guide.cursor().executemany(INSERT, [(1,), (2,)])
    guide.execute("update documents set content = 'bad' where id = 2")

    def refuse(texts: Sequence[Any]) -> None:
        if any("bad" in text for text in texts):
            raise ValueError("bad")

    with serving(only(Wrapped(model, on_result=refuse)), database.conninfo) as client:
        answer = client.post(PATH, json=posted(guide))
    assert errors(answer) == {2: "The model failed (ValueError); it waits in the queue."}
    assert column(guide, WITHOUT_VECTOR) == [2]


@pytest.mark.slow
def test_what_is_not_embedded_in_time_stays(database: Database, guide: psycopg.Connection, model: Session) -> None:
    guide.execute(INSERT, [1])
    gate = Gate()
    with serving(only(Wrapped(model, on_result=gate)), database.conninfo, http_push_timeout_s=0.5) as client:
        answer = client.post(PATH, json=posted(guide))
        gate.open()
    assert errors(answer) == {1: "It was not finished in time and waits in the queue."}
    assert waiting(guide) == column(guide, WITHOUT_VECTOR) == [1]


def test_rows_whose_content_takes_long_do_not_add_up(
    database: Database, guide: psycopg.Connection, model: Session
) -> None:
    """Each may take ten seconds, and a service that stops waits for none that it has not begun."""
    guide.cursor().executemany(INSERT, [(1,), (2,)])
    guide.execute(
        "create or replace function embedding_input(one documents) returns text language plpgsql as $$ "
        "begin if one.id = 2 then raise exception 'read'; end if; perform pg_sleep(0.2); return one.content; end $$"
    )
    with serving(only(model), database.conninfo, http_push_timeout_s=0.1) as client:
        answer = client.post(PATH, json=posted(guide))
    assert errors(answer) == dict.fromkeys((1, 2), "It was not finished in time and waits in the queue.")
    assert waiting(guide) == [1, 2]


@pytest.mark.slow
def test_a_locked_row_waits(database: Database, guide: psycopg.Connection, client: httpx.Client) -> None:
    guide.cursor().executemany(INSERT, [(1,), (2,)])
    with database.connect() as other, other.transaction():
        other.execute("select from documents where id = 1 for update")
        answer = client.post(PATH, json=posted(guide))
    assert errors(answer) == {1: "Its row is locked; it waits in the queue."}
    assert column(guide, WITHOUT_VECTOR) == [1]


def test_the_service_runs_no_code_of_another_role(roles: Roles, database: Database, model: Session) -> None:
    """Neither a table that is not its own, whose triggers would run, nor a function of another role."""
    service, other = roles.make("service"), roles.make("other")
    with database.connect() as admin:
        follow_guide(admin)
        guide_table(admin, "mine", function="of_mine")
        guide_table(admin, "theirs", function="of_theirs")
        guide_table(admin, "shared", function="of_them")
        admin.execute(f"select pgembedd.grant_worker('{service}')")
        for table, function, owner, author in (
            ("mine", "of_mine", service, service),
            ("theirs", "of_theirs", other, other),
            ("shared", "of_them", service, other),
        ):
            admin.execute(f"insert into {table} (id, title, content) values (1, 'one', 'text')".encode())
            admin.execute(f"alter table {table} owner to {owner}".encode())
            admin.execute(f"alter function {function} owner to {author}".encode())
        admin.execute(f"grant all on theirs to {service}".encode())
        jobs = posted(admin)

        with serving(only(model), conninfo_as(database, service)) as client:
            denied = client.post(PATH, json=jobs[:1])
            admin.execute(f"grant usage on schema pgmq to {service}".encode())
            admin.execute(f"grant select, delete on pgmq.q_embedding_jobs to {service}".encode())
            answer = client.post(PATH, json=jobs)
        assert denied.json()["failedJobs"][0]["error"] == (
            "It failed (InsufficientPrivilege): connect the service as the owner of the table and of the queue, "
            "or run `pgembedd import supabase`."
        )
        assert [job["table"] for job in answer.json()["completedJobs"]] == ["mine"]
        assert [job["error"] for job in answer.json()["failedJobs"]] == [
            f"public.theirs does not belong to the role {service}: connect the service as the table's owner, {IMPORT}",
            f"The function public.of_them belongs neither to the role {service} nor to a superuser: {OWNER}, {IMPORT}",
        ]
        assert value(admin, "select embedding is not null from mine")
        assert value(admin, "select embedding is null from theirs")
        assert len(waiting(admin)) == 2


def test_rows_that_a_policy_hides_are_not_taken_for_gone(roles: Roles, database: Database, model: Session) -> None:
    service = roles.make("service")
    with database.connect() as admin:
        follow_guide(admin)
        guide_table(admin)
        admin.execute(INSERT, [1])
        admin.execute(f"select pgembedd.grant_worker('{service}')")
        admin.execute(f"grant usage on schema pgmq to {service}".encode())
        admin.execute(f"grant select, delete on pgmq.q_embedding_jobs to {service}".encode())
        admin.execute(f"alter table documents owner to {service}; alter table documents enable row level security; "
                      "alter table documents force row level security".encode())  # fmt: skip
        with serving(only(model), conninfo_as(database, service)) as client:
            answer = client.post(PATH, json=posted(admin))
        assert errors(answer)[1].startswith("Row level security is forced on public.documents: ALTER ROLE")
        assert waiting(admin) == [1]
