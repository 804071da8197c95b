"""The page as it is sent: what it shows, what it refuses, and with whose rights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import httpx
import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.http.dashboard import search_hits
from pgembedd.model import Session
from pgembedd.search.calls import pipelines_call
from pgembedd.search.hits import Hits
from pgembedd.search.run import run
from pgembedd.search.run import search as search_sql
from tests.http.page import HOSTILE, TEXTS, Visitor, give_up, make_library, text_of
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.pages import contracts
from tests.support.roles import Roles, conninfo_as
from tests.support.search import make_source
from tests.support.sql import rows, value


@pytest.fixture(scope="module")
def library(server: EmbeddedPostgres, template: Database, model: Session) -> Iterator[Database]:
    """A database for all tests here; those that put jobs back give them up again."""
    with fresh_database(server, template.name) as database:
        with database.connect() as connection:
            make_library(connection, model)
        yield database


@pytest.fixture(scope="module")
def address(library: Database, model: Session) -> Iterator[httpx.URL]:
    with serving(only(model), library.conninfo) as client:
        yield client.base_url


@pytest.fixture
def connection(library: Database) -> Iterator[psycopg.Connection]:
    with library.connect() as connection:
        yield connection


@pytest.fixture
def visitor(address: httpx.URL) -> Iterator[Visitor]:
    with Visitor(address) as visitor:
        yield visitor


def test_pipelines_and_dead_letters_are_shown(visitor: Visitor) -> None:
    seen = text_of(visitor.get())

    assert "2 pipelines" in seen
    assert "3 dead letters" in seen
    assert "no worker answers" in seen
    assert f'broken public."{HOSTILE}" → embedding all-MiniLM-L6-v2 running' in seen
    assert "broken content 2" in seen
    assert "broken write 1" in seen


def test_a_pipeline_that_parses_files_is_shown_and_not_offered_for_a_search(
    visitor: Visitor, connection: psycopg.Connection
) -> None:
    contracts(connection)
    try:
        page = visitor.get()
        assert "contract_text public.contracts → public.contract_pages text of files running" in text_of(page)
        assert "<option>contract_text</option>" not in page.text
    finally:
        connection.execute("select pgembedd.drop_pipeline('contract_text'); drop table contract_pages, contracts")


def test_what_no_worker_can_serve_is_on_top_with_a_badge(visitor: Visitor, connection: psycopg.Connection) -> None:
    name = value(connection, "select max(name) from pgembedd_internal.pipeline")  # not the first by its name
    query = "select pgembedd_internal.{}(p.id{}) from pgembedd_internal.pipeline p where p.name = %s"
    connection.execute(query.format("note_unserved", ", 'gte-small is away.'"), [name])
    try:
        page = visitor.get()
        first = page.text[page.text.index('<th role="rowheader"') :]
        assert first.index(name) < first.index("</th>")
        assert '<span class="state unserved">unserved</span>' in first[: first.index("</tr>")]
        assert "1 unserved" in text_of(page)
        assert f"{name} : gte-small is away." in text_of(page).replace(f"{name}:", f"{name} :")
    finally:
        connection.execute(query.format("note_served", ""), [name])


def test_every_value_is_escaped(visitor: Visitor) -> None:
    pages = [
        visitor.get(),
        visitor.get("/dead-letters"),
        visitor.post("/hits", pipeline="documents", text="<b>", limit="5"),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<script" not in page.text.casefold()
        assert "<b>&" not in page.text
        assert HOSTILE in text_of(page)


def test_a_browser_is_told_to_load_nothing_else(visitor: Visitor) -> None:
    for path, status in (("/", 200), ("/dead-letters?page=0", 400), ("/search", 200)):
        page = visitor.get(path)
        assert page.status_code == status
        assert page.headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; img-src 'self';"
        )
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
    assert visitor.get("/page.css").headers["content-type"] == "text/css; charset=utf-8"
    assert visitor.get("/icon.svg").headers["content-type"] == "image/svg+xml"


def test_the_last_hour_is_drawn_and_told(visitor: Visitor, connection: psycopg.Connection) -> None:
    connection.execute("""
        insert into pgembedd_internal.sample (at, pipeline_id, queued, backfill, oldest_age, backfill_oldest_age,
            failing, dead)
        select date_trunc('minute', now()) - make_interval(mins => m), p.id, m * 10, 0, make_interval(secs => m), null,
               0, 0
        from unnest(array[1, 2, 7, 8]) m cross join (select id from pgembedd_internal.pipeline where name = 'broken'
                                                     union all select null) p""")
    page = visitor.get().text

    assert 'aria-label="Queued: last 10, highest 80 at ' in page
    assert re.search(r'<span class="peak" aria-hidden="true">80 at \d\d:\d\d</span>', page)
    assert 'aria-label="Oldest: last 1.0 s, highest 8.0 s at ' in page
    assert 'aria-label="Rows a minute: last 0, highest 0 at ' in page


def test_dead_letters_are_listed_and_chosen(visitor: Visitor) -> None:
    every = text_of(visitor.get("/dead-letters"))
    assert every.count(f"{HOSTILE} failed") == 3
    assert text_of(visitor.get("/dead-letters?pipeline=broken&reason=write")).count(f"{HOSTILE} failed") == 1
    for path in ("/dead-letters?pipeline=", "/dead-letters?pipeline=documents", "/dead-letters?reason=model"):
        assert "There are no dead letters." in text_of(visitor.get(path))
    assert "There are no dead letters on this page." in text_of(visitor.get("/dead-letters?page=2"))


@pytest.mark.parametrize(
    "path", ["/?page=x", "/dead-letters?page=99999999999", "/dead-letters?reason=%00", "/?retried=x"]
)
def test_an_address_that_is_none(visitor: Visitor, path: str) -> None:
    page = visitor.get(path)

    assert (page.status_code, "cannot be read" in page.text) == (400, True)


# -- Retry ---------------------------------------------------------------------------------------------------


def test_a_retry_puts_the_jobs_of_a_reason_back(visitor: Visitor, connection: psycopg.Connection) -> None:
    answer = visitor.post("/retry", pipeline="broken", reason="content")

    assert (answer.status_code, answer.headers["location"]) == (303, "/?retried=2")
    assert "2 jobs were queued again." in text_of(visitor.get(answer.headers["location"]))
    assert [row[0] for row in rows(connection, "select reason from pgembedd.dead_letters")] == ["write"]
    assert value(connection, "select count(*) from pgmq.q_pgembedd_backfill") == 2
    assert visitor.post("/retry").headers["location"] == "/?retried=1"
    give_up(connection)
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://example.org"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},  # another service of this machine
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "rebound.example.org"},
    ],
    ids=str,
)
def test_a_form_of_another_page_puts_nothing_back(
    visitor: Visitor, connection: psycopg.Connection, headers: dict[str, str]
) -> None:
    refused = visitor.post("/retry", headers=headers, pipeline="broken")

    assert refused.status_code == 403
    assert "<h1>" in refused.text
    own = {"origin": str(visitor.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert visitor.post("/retry", headers=own, pipeline="documents").status_code == 303
    assert value(connection, "select count(*) from pgembedd.dead_letters") == 3


def test_a_retry_of_a_pipeline_that_is_gone(visitor: Visitor) -> None:
    assert visitor.post("/retry", pipeline="gone").status_code == 404
    assert visitor.post("/retry", reason="x" * 201).status_code == 422


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"pipeline=%ff", "application/x-www-form-urlencoded", 400),
        ("a=ä".encode(), "application/x-www-form-urlencoded", 400),
        (b"pipeline=%00", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(30)), "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"", "text/plain", 415),
        (b"pipelne=broken", "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_no_form(visitor: Visitor, body: bytes, kind: str, status: int) -> None:
    assert visitor.client.post("/retry", content=body, headers={"content-type": kind}).status_code == status


# -- Search --------------------------------------------------------------------------------------------------


def test_a_search_shows_the_nearest_first(visitor: Visitor, model: Session) -> None:
    page = visitor.post("/hits", pipeline="documents", text="I cannot remember my passphrase", limit="5")
    seen = text_of(page)

    assert seen.index(TEXTS[1]) < min(seen.index(TEXTS[key]) for key in (2, 3, 4))
    query, *documents = model.embed(["I cannot remember my passphrase", *TEXTS.values()]).vectors
    similarity = float(seen.split(" similarity ")[1].split()[0])
    assert similarity == pytest.approx(float(query @ documents[0]), abs=1e-3)  # halfvec keeps so much of it
    assert 'value="I cannot remember my passphrase"' in page.text


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"pipeline": "documents", "text": " ", "limit": "5"}, 422, "The query is empty."),
        (
            {"pipeline": "gone", "text": "x", "limit": "5"},
            404,
            'There is no pipeline "gone".',
        ),
        ({"pipeline": "documents", "text": "x", "limit": "1000000"}, 422, "A search shows"),
        ({"pipeline": "documents", "text": "x"}, 422, "A search shows"),
        ({"pipeline": "documents", "text": "x", "limit": "5", "filter": "{"}, 422, "is no JSON object"),
        ({"pipeline": "documents", "text": "x", "limit": "5", "filter": '{"no": 1}'}, 422, "There are: id, body."),
        ({"pipeline": "documents", "text": "x", "limit": "5", "mode": "guess"}, 422, "is not known"),
    ],
)
def test_a_search_that_is_refused_keeps_its_form(
    visitor: Visitor, fields: dict[str, str], status: int, sentence: str
) -> None:
    page = visitor.post("/hits", headers=None, **fields)

    assert page.status_code == status
    assert sentence in text_of(page)
    assert 'role="alert"' in page.text
    assert f'type="search" required maxlength="20000" autocomplete="off" value="{fields["text"]}"' in page.text


def test_a_pipeline_of_another_model_is_not_searched(visitor: Visitor, connection: psycopg.Connection) -> None:
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'other@1' where name = 'broken'")
    page = visitor.post("/hits", pipeline="broken", text="x", limit="5")

    assert page.status_code == 409
    assert "holds vectors of other@1" in text_of(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("P0001", "raise exception 'it says %', $1"),
        ("42703", "execute format('select %I', 'it says ' || $1)"),  # a refusal has this code, too
    ],
)
def test_an_error_of_a_policys_code_is_not_repeated(
    roles: Roles, database: Database, model: Session, code: str, raised: str
) -> None:
    role = roles.make("service")
    with database.connect() as owner:
        make_library(owner, model)
        owner.execute(f"select pgembedd.grant_operator('{role}'); grant select on documents to {role}")
        owner.execute(
            "create function spoil(text) returns bool language plpgsql as "
            f"$$ begin {raised}; end $$;"
            "alter table documents enable row level security;"
            f"create policy p on documents to {role} using (spoil(body))"
        )
        with serving(only(model), conninfo_as(database, role)) as client, Visitor(client.base_url) as visitor:
            page = visitor.post("/hits", pipeline="documents", text="x", limit="5")

    assert page.status_code == 409
    assert f"The search failed in the database (SQLSTATE {code})." in text_of(page)
    assert "it says" not in page.text


def test_a_hit_has_a_title_marks_and_the_statement(visitor: Visitor, connection: psycopg.Connection) -> None:
    fields = {"text": "password o'clock", "limit": "10", "filter": '{"id": {"$lt": 4}}'}
    page = visitor.post("/hits", headers=None, pipeline="documents", **fields)

    assert "<h3>How to reset a forgotten password</h3>" in page.text
    assert "forgotten <mark>password</mark>" in page.text
    assert "by meaning 1" in text_of(page)
    assert "3 rows of documents" in text_of(page)
    statement = unescape(page.text.split("<code>select ")[1].split("</code>")[0])
    assert "'password o''clock'" in statement
    vector = "'[" + ",".join(["0.1"] * 384) + "]'"
    assert len(rows(connection, "select " + statement.replace(");", f", embedding => {vector})"))) == 3


def test_the_chunks_of_a_row_are_shown_together(database: Database, model: Session) -> None:
    with database.connect() as connection:
        make_source(connection, 4, embedding_table="chunks", model="all-MiniLM-L6-v2", dimensions=3)
        connection.execute("update pgembedd_internal.pipeline set fingerprint = %s", [model.fingerprint])
        hits = Hits(search_sql(connection, "documents", None, embedding=[1.0, 0.5, 0.25], per="chunk", k=12))
        (pipeline,) = run(connection, pipelines_call())
    found = search_hits.grouped(hits, pipeline, 2)

    assert len(found) == 2
    assert found[0].key == str(hits[0].key)
    assert all(str(hit.key) == row.key for row in found for hit in row.hits)
    assert found[0].title == f"title {found[0].key}"


@pytest.mark.parametrize(
    ("snippet", "parts"),
    [
        ("a \x0eb\x0f c", [("a ", False), ("b", True), (" c", False)]),
        ("\x0ea\x0f", [("a", True)]),
        ("a", [("a", False)]),
        ("", []),
    ],
)
def test_marked_words_of_a_snippet_stand_apart(snippet: str, parts: list[tuple[str, bool]]) -> None:
    assert search_hits.marked(snippet) == parts


# -- Rights --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_role_is_told_what_it_lacks(roles: Roles, database: Database, model: Session) -> None:
    role = roles.make("service")
    with database.connect() as owner:
        make_library(owner, model)
        with (
            serving(only(model), conninfo_as(database, role)) as client,
            Visitor(client.base_url) as visitor,
        ):
            page = visitor.get()
            assert page.status_code == 503
            assert f"""select pgembedd.grant_operator('"{role}"')""" in text_of(page)

            owner.execute(f"""select pgembedd.grant_operator('"{role}"')""")
            assert "3 dead letters" in text_of(visitor.get())
            assert "failed" in text_of(visitor.get("/dead-letters"))
            assert visitor.post("/retry").headers["location"] == "/?retried=3"
            refused = visitor.post("/hits", pipeline="documents", text="x", limit="5")
            assert refused.status_code == 403
            assert f"The role {role} may not read" in text_of(refused)
            assert f"GRANT SELECT (id, embedding) ON public.documents TO {role}" in text_of(refused)

            owner.execute(f"grant select on documents to {role}")
            owner.execute("alter table documents enable row level security")
            owner.execute(f"create policy own on documents to {role} using (id = 2)")
            found = text_of(visitor.post("/hits", pipeline="documents", text="x", limit="5"))
            assert "1 row of documents" in found
            assert TEXTS[2] in found


def test_a_service_without_a_database_says_so(model: Session) -> None:
    with serving(only(model)) as client:
        page = client.get("/")

    assert page.status_code == 501
    assert "--no-database" in text_of(page)


def test_a_database_without_our_schema_says_so(empty_database: Database, model: Session) -> None:
    with serving(only(model), empty_database.conninfo) as client:
        page = client.get("/")

    assert page.status_code == 503
    assert "pgembedd migrate" in text_of(page)
