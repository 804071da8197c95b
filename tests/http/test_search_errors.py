"""An error of a search as a response: by its SQLSTATE, and by whether a function of ours refuses the call with it."""

from __future__ import annotations

import pytest

from pgembedd.errors import SearchError
from pgembedd.http.errors.refusals import own_refusal
from pgembedd.model import Session
from tests.http.page import make_library
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import serving
from tests.support.roles import Roles, conninfo_as


@pytest.mark.parametrize(
    ("sqlstate", "status", "word"),
    [
        ("22023", 422, "search_refused"),
        ("22004", 422, "search_refused"),
        ("42501", 403, "rights_missing"),
        ("42703", 422, "search_refused"),
        ("42704", 404, "pipeline_not_found"),
        ("42804", 422, "search_refused"),
        ("54000", 422, "search_refused"),
        ("55000", 409, "conflict"),
        ("P0002", 404, "not_found"),
    ],
)
def test_a_refusal_says_why(sqlstate: str, status: int, word: str) -> None:
    refusal = own_refusal(SearchError("It is refused.", "Ask otherwise.", sqlstate, refused=True))
    assert (refusal.status, refusal.code, refusal.sentence) == (status, word, "It is refused. Ask otherwise.")


@pytest.mark.parametrize(
    ("sqlstate", "status", "word"),
    [
        ("40001", 503, "busy"),
        ("53000", 503, "no_worker"),
        ("53100", 503, "busy"),
        ("53400", 429, "too_many_requests"),
        ("55P03", 503, "busy"),
        ("57014", 504, "timeout"),
    ],
)
def test_an_error_of_the_moment_says_why(sqlstate: str, status: int, word: str) -> None:
    refusal = own_refusal(SearchError("Not now.", None, sqlstate))
    assert (refusal.status, refusal.code, refusal.sentence) == (status, word, "Not now.")


@pytest.mark.parametrize("sqlstate", ["22023", "22P02", "42703", "42704", "42804", "54000", "55000", "P0001", "P0002"])
def test_an_error_of_other_code_is_not_repeated(sqlstate: str) -> None:
    refusal = own_refusal(SearchError("It says a row's text.", None, sqlstate))
    assert (refusal.status, refusal.code) == (409, "search_failed")
    assert refusal.sentence == f"The search failed in the database (SQLSTATE {sqlstate})."


def test_a_policy_that_fails_tells_no_text_of_a_row(roles: Roles, database: Database, model: Session) -> None:
    role = roles.make("app", "noinherit")
    with database.connect() as connection:
        make_library(connection, model)
        connection.execute(f"""
            select pgembedd.grant_search('{role}');
            grant select on documents to {role};
            alter table documents enable row level security;
            create policy newer on documents to {role} using (body::int > 0)
        """)
    with serving(only(model), database.conninfo, search_url=conninfo_as(database, role)) as client:
        answer = client.post("/api/v1/search", json={"pipeline": "documents", "query": "a password"})
    assert (answer.status_code, answer.json()["error"]) == (409, "search_failed")
    assert answer.json()["message"] == "The search failed in the database (SQLSTATE 22P02)."
