"""Searches by HTTP: whose rights they have, what they answer, and what they say when they cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg.conninfo import make_conninfo
from structlog.typing import EventDict

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.http.page import TEXTS, make_library
from tests.support.databases import Database, fresh_database
from tests.support.embedders import Counted, only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.roles import Roles, conninfo_as, temporary_roles
from tests.support.user_tokens import SECRET, signed
from tests.support.waiting import eventually

FOR_SEARCHES, AS_ANOTHER = "a-token-for-searches", "a-token-of-another-domain"
ASKED = {"pipeline": "documents", "query": "I cannot remember my passphrase"}
ORIGIN = "https://app.example"


@dataclass(frozen=True)
class Searched:
    """A service, its database, and the two roles that its searches run as."""

    client: httpx.Client
    database: Database
    role: str
    other: str
    asked: list[str]
    """The texts that the model was asked for."""

    def post(self, body: dict[str, Any], token: str = FOR_SEARCHES, path: str = "/api/v1/search") -> httpx.Response:
        """The answer to a search."""
        return self.client.post(path, json=body, headers={"authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def searched(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Searched]:
    """`documents` with four rows; the second belongs to another user, and row level security holds."""
    with temporary_roles(server) as roles, fresh_database(server, template.name) as database:
        role, other = roles.make("app", "noinherit"), roles.make("intranet", "noinherit")
        with database.connect() as connection:
            make_library(connection, model)
            connection.execute("alter table documents add owner text default 'ann'")
            connection.execute("update documents set owner = 'bob' where id = 2")
            connection.execute("alter table documents enable row level security")
            connection.execute(
                f"create policy own on documents to {role} using (owner = "
                "nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' "
                "or nullif(current_setting('request.jwt.claims', true), '') is null)"
            )
            connection.execute(f"create policy everything on documents to {other} using (true)")
            for name in (role, other):
                connection.execute(f"select pgembedd.grant_search('{name}')")
                connection.execute(f"grant select on documents to {name}")
        tokens = tmp_path_factory.mktemp("tokens") / "tokens"
        tokens.write_text(f"{FOR_SEARCHES} search\n{AS_ANOTHER} embed search={url_of(database, other)}\n")
        with (
            pytest.MonkeyPatch.context() as patch,
            serving(
                only((counted := Counted(model)).model),
                database.conninfo,
                http_token=TOKEN,
                http_tokens_file=str(tokens),
                search_url=conninfo_as(database, role),
                http_jwt_secret=SECRET,
                http_cors_origins=ORIGIN,
            ) as client,
        ):
            patch.setattr("pgembedd.http.auth.throttle.MAX_FAILURES", 1000)  # test_tokens.py is about these
            yield Searched(client, database, role, other, counted.asked)


def url_of(database: Database, role: str) -> str:
    """The URL of a database for another role; a line of the file of tokens takes no spaces."""
    named = psycopg.conninfo.conninfo_to_dict(conninfo_as(database, role))
    return (
        f"postgresql://{role}:{str(named['password']).replace(' ', '%20')}@{named['host']}:{named['port']}/"
        f"{named['dbname']}"
    )


def keys(answer: httpx.Response) -> list[int]:
    """The keys of the hits, sorted."""
    assert answer.status_code == 200, answer.text
    return sorted(hit["key"] for hit in answer.json()["hits"])


@pytest.mark.slow
def test_a_search_by_each_address(searched: Searched) -> None:
    found = searched.post(ASKED | {"k": 2, "filter": {"id": {"$lte": 3}}, "snippet_length": 20})

    assert found.headers["content-type"] == "application/json"
    first, second = found.json()["hits"]
    assert (first["key"], first["semantic_rank"], first["record"]["body"]) == (1, 1, TEXTS[1])
    assert first["snippet"] == "How to reset a …"
    assert first["score"] >= second["score"]
    assert "embedding" not in first["record"]
    assert found.json()["notices"] == []
    assert searched.post(ASKED, path="/functions/v1/search").json()["hits"][0]["key"] == 1
    address = {**ASKED, "filter": '{"id": {"$gt": 1}}', "k": "3", "min_similarity": "-1"}
    by_get = searched.client.get("/api/v1/search", params=address, headers={"authorization": f"Bearer {FOR_SEARCHES}"})
    assert keys(by_get) == [2, 3, 4]
    fused: dict[str, Any] = ASKED | {
        "k": 2,
        "skip": 1,
        "semantic_weight": 0,
        "rrf_k": 1,
        "snippet_marks": ["<b>", "</b>"],
    }
    by_get = searched.client.get("/api/v1/search", params=fused, headers={"authorization": f"Bearer {FOR_SEARCHES}"})
    assert by_get.json() == searched.post(fused).json() != searched.post(ASKED | {"k": 2}).json()


def test_equal_queries_of_a_user_are_embedded_once(searched: Searched) -> None:
    asked = ASKED | {"query": "which of these is asked again"}
    before = len(searched.asked)
    hits = [searched.post(asked).json()["hits"] for _ in range(2)]
    assert hits[0] == hits[1]
    ann, bob = signed(), signed(sub="bob")
    for user in (ann, bob, signed(exp=int(time.time()) + 900), AS_ANOTHER):
        searched.post(asked, user)
    assert len(searched.asked) == before + 4, "of the service, of ann, of bob, and of the other role"
    texts = {"input": [asked["query"], "and one more"], "kind": "query"}
    for path in ("/embed", "/v1/embeddings", "/embed"):
        assert searched.post(texts, TOKEN, path).status_code == 200
    assert searched.asked[before + 4 :] == ["and one more"]


@pytest.mark.slow
def test_a_search_is_reranked_where_it_is_asked_for(searched: Searched) -> None:
    asked = ASKED | {"query": "reset a password", "k": 3, "mode": "semantic", "rerank": "ms-marco-minilm-l12"}
    hits = searched.post(asked).json()["hits"]

    assert len(hits) == 3
    assert hits[0]["key"] == 1
    assert hits[0]["rerank_score"] > hits[1]["rerank_score"]
    assert hits[0]["score"] == pytest.approx(2 / 61), "both orders have it first"
    address = {name: str(value) for name, value in asked.items()}
    by_get = searched.client.get("/api/v1/search", params=address, headers={"authorization": f"Bearer {FOR_SEARCHES}"})
    assert by_get.json()["hits"] == hits
    assert searched.post(ASKED).json()["hits"][0]["rerank_score"] is None
    refused = searched.post(ASKED | {"rerank": "rerank-v3.5"})
    assert (refused.status_code, refused.json()["error"]) == (404, "model_not_found")


def test_a_token_searches_as_its_own_role(searched: Searched) -> None:
    with searched.database.connect() as connection:
        connection.execute(f"revoke select on documents from {searched.other}")
        connection.execute(f"grant select (id, embedding, body) on documents to {searched.other}")
    assert set(searched.post(ASKED).json()["hits"][0]["record"]) == {"id", "body", "owner"}
    assert set(searched.post(ASKED, AS_ANOTHER).json()["hits"][0]["record"]) == {"id", "body"}
    assert set(searched.post(ASKED, TOKEN).json()["hits"][0]["record"]) == {"id", "body", "owner"}


def test_the_claims_of_a_user_hold_in_policies(searched: Searched) -> None:
    assert keys(searched.post(ASKED)) == [1, 2, 3, 4]
    assert keys(searched.post(ASKED, signed())) == [1, 3, 4]
    assert keys(searched.post(ASKED, signed(sub="bob"))) == [2]
    assert keys(searched.post(ASKED, signed(sub="carl"))) == []
    assert keys(searched.post(ASKED)) == [1, 2, 3, 4], "the claims end with their request"


@pytest.mark.parametrize(
    "token",
    [
        signed("another secret of thirty-two bytes, or more"),
        signed(exp=int(time.time()) - 60),
        jwt.encode({"sub": "ann"}, SECRET, "HS256"),
        jwt.encode({"sub": "ann", "exp": int(time.time()) + 600}, "", "none"),
        jwt.encode({"sub": "ann", "exp": int(time.time()) + 600}, SECRET + SECRET, "HS512"),
        signed()[:-2],
        "a.b.c",
    ],
    ids=["signature", "expired", "no end", "unsigned", "algorithm", "cut", "none"],
)
def test_a_token_that_is_not_verified_is_none(searched: Searched, token: str) -> None:
    assert searched.post(ASKED, token).status_code == 401


def test_a_users_token_may_search_and_nothing_else(searched: Searched) -> None:
    for path in ("/embed?input=x", "/api/v1/status", "/metrics"):
        answer = searched.client.get(path, headers={"authorization": f"Bearer {signed()}"})
        assert (answer.status_code, answer.json()["error"]) == (403, "scope_missing")
    refused = searched.client.get("/embed?input=x", headers={"authorization": f"Bearer {FOR_SEARCHES}"})
    assert "it needs the scope embed" in refused.json()["message"]


def test_a_browser_sends_what_supabase_js_sends(searched: Searched) -> None:
    asks = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "apikey,authorization,content-type,x-client-info",
    }
    with httpx.Client(base_url=searched.client.base_url, trust_env=False, verify=PLAIN) as browser:
        allowed = browser.options("/functions/v1/search", headers=asks)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
        sent = {"apikey": FOR_SEARCHES, "x-client-info": "supabase-js/2", "origin": ORIGIN}
        alone = browser.post("/functions/v1/search", json=ASKED, headers=sent)
        assert keys(alone) == [1, 2, 3, 4]
        assert alone.headers["access-control-allow-origin"] == ORIGIN
        both = browser.post(
            "/api/v1/search", json=ASKED, headers=sent | {"authorization": f"Bearer {signed(sub='bob')}"}
        )
        assert keys(both) == [2]
        wrong = browser.post(
            "/api/v1/search", json=ASKED, headers=sent | {"authorization": "Bearer of-no-one-that-is-known"}
        )
        assert wrong.status_code == 401, "the key does not stand in for a wrong token"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"query": " "}, 422, "The query is empty."),
        ({"query": "a\0b"}, 422, "The query holds a character that no text in Postgres can."),
        ({"pipeline": "gone"}, 404, 'There is no pipeline "gone".'),
        ({"k": 0}, 422, "k: "),
        ({"k": 1001}, 422, "k: "),
        ({"k": "5"}, 422, "k: "),
        ({"mode": "guess"}, 422, "The mode 'guess' is not known."),
        ({"min_similarity": 1.5}, 422, "min_similarity 1.5 is out of range. With the cosine distance it goes from -1"),
        ({"per": "page"}, 422, "per 'page' is not known."),
        ({"filter": {"nope": 1}}, 422, 'public.documents has no column "nope" that you may filter by.'),
        ({"filter": {"id": {"$gt": "x"}}}, 422, "The filter compares"),
        ({"filter": {"body": "\0"}}, 422, "The filter holds a character that no text in Postgres can."),
        ({"filter": [1]}, 422, "filter: It has to be a JSON object."),
        ({"limit": 3}, 422, "A field is none of pipeline, query, k"),
        ({"query": "word " * 900_000}, 413, "The body is larger than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_request_gets_the_sentence_of_sql(
    searched: Searched, change: dict[str, Any], status: int, sentence: str
) -> None:
    answer = searched.post(ASKED | change)

    assert answer.status_code == status
    assert sentence in answer.json()["message"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"query": None}, "query: It is missing."),
        ({"pipeline": None}, "pipeline: It is missing."),
        ({"query": " "}, "The query is empty."),
        ({"k": "0"}, "k: Input should be greater than or equal to 1."),
        ({"k": "many"}, "k: Input should be a valid integer"),
        ({"mode": "guess"}, "The mode 'guess' is not known."),
        ({"per": "page"}, "per 'page' is not known."),
        ({"min_similarity": "2"}, "min_similarity 2 is out of range."),
        ({"min_similarity": "nan"}, "min_similarity: Input should be less than or equal to "),
        ({"min_similarity": "close"}, "min_similarity: Input should be a valid number"),
        ({"snippet_length": "-1"}, "snippet_length: Input should be greater than or equal to 0."),
        (
            {"semantic_weight": "x"},
            "semantic_weight: Input should be a valid number, unable to parse string as a number.",
        ),
        ({"text_weight": "nan"}, "text_weight: Input should be less than or equal to 1000000."),
        ({"rrf_k": "0"}, "rrf_k: Input should be greater than or equal to 1."),
        ({"skip": "1001"}, "skip: Input should be less than or equal to 1000."),
        ({"snippet_marks": "x"}, 'The option snippet_marks is ["x"].'),
        ({"filter": "{"}, "The filter is no JSON object"),
        ({"limit": "3"}, "A parameter is none of pipeline, query, k"),
    ],
    ids=str,
)
def test_a_parameter_of_the_address_that_cannot_be_meant(
    searched: Searched, change: dict[str, Any], sentence: str
) -> None:
    asked = {name: value for name, value in (ASKED | change).items() if value is not None}
    answer = searched.client.get("/api/v1/search", params=asked, headers={"authorization": f"Bearer {FOR_SEARCHES}"})

    assert answer.status_code == 422
    assert answer.json()["message"].startswith(sentence)


@pytest.mark.parametrize(
    "filter", ["{", "[]", "1", "[" * 100_000, '{"a": NaN}'], ids=["cut", "array", "1", "deep", "nan"]
)
def test_a_filter_in_the_address_is_json(searched: Searched, filter: str) -> None:
    answer = searched.client.get(
        "/api/v1/search",
        params={**ASKED, "filter": filter[:20_000]},
        headers={"authorization": f"Bearer {FOR_SEARCHES}"},
    )
    assert answer.status_code == 422


def test_a_filter_that_is_nested_too_deep_is_refused(searched: Searched) -> None:
    body = b'{"pipeline": "documents", "query": "x", "filter": ' + b'{"$not": ' * 50_000 + b"{}" + b"}" * 50_001
    headers = {"authorization": f"Bearer {FOR_SEARCHES}", "content-type": "application/json"}
    assert searched.client.post("/api/v1/search", content=body, headers=headers).status_code in (400, 422)


def test_a_pipeline_that_the_role_may_not_read(searched: Searched) -> None:
    answer = searched.post({"pipeline": "broken", "query": "x"})

    assert (answer.status_code, answer.json()["error"]) == (403, "rights_missing")
    assert f"The role {searched.role} may not read" in answer.json()["message"]


def test_vectors_of_another_model_are_not_searched(searched: Searched, model: Session) -> None:
    with searched.database.connect() as connection:
        assert keys(searched.post(ASKED)) == [1, 2, 3, 4], "the pipeline is known by now"
        connection.execute("update pgembedd_internal.pipeline set fingerprint = 'other@1' where name = 'documents'")
        answer = searched.post(ASKED)
        connection.execute(
            "update pgembedd_internal.pipeline set fingerprint = %s where name = 'documents'", [model.fingerprint]
        )
    assert (answer.status_code, answer.json()["error"]) == (409, "model_mismatch")
    assert "holds vectors of other@1" in answer.json()["message"]
    assert keys(searched.post(ASKED)) == [1, 2, 3, 4]


# -- The role -------------------------------------------------------------------------------------------------


def test_without_a_role_there_is_no_search(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo, http_token=TOKEN) as client:
        answer = client.post("/api/v1/search", json=ASKED)
    assert (answer.status_code, answer.json()["error"]) == (501, "no_search_role")
    assert "PGEMBEDD_SEARCH_URL" in answer.json()["message"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("superuser noinherit", "is a superuser"),
        ("bypassrls noinherit", "has BYPASSRLS"),
        ("createrole noinherit", "has CREATEROLE"),
        ("", "has INHERIT"),
        ("noinherit in role pg_read_all_data", "is a member of another role"),
    ],
)
def test_a_role_with_more_rights_does_not_search(
    roles: Roles, database: Database, model: Session, options: str, fault: str
) -> None:
    role = roles.make("mighty", options)
    with serving(only(model), database.conninfo, search_url=conninfo_as(database, role)) as client:
        answer = client.post("/api/v1/search", json=ASKED)
    assert (answer.status_code, answer.json()["error"]) == (501, "search_role_refused")
    assert f'The role "{role}" that searches {fault}' in answer.json()["message"]


def test_a_role_that_owns_tables_does_not_search(roles: Roles, database: Database, model: Session) -> None:
    role = roles.make("owner", "noinherit")
    with database.connect() as connection:
        connection.execute(f"create table theirs (id int); alter table theirs owner to {role}")
    with serving(only(model), database.conninfo, search_url=conninfo_as(database, role)) as client:
        assert "owns tables" in client.post("/api/v1/search", json=ASKED).json()["message"]


@pytest.mark.slow
def test_what_a_policy_leaves_in_the_session_ends_with_the_request(
    roles: Roles, database: Database, model: Session
) -> None:
    role = roles.make("app", "noinherit")
    with database.connect() as connection:
        make_library(connection, model)
        connection.execute(
            "create function tamper() returns bool language plpgsql as $$ begin"
            " perform set_config('app.tenant', 'ann', false); return true; end $$"
        )
        connection.execute("alter table documents enable row level security")
        connection.execute(f"create policy p on documents to {role} using (tamper())")
        connection.execute(f"select pgembedd.grant_search('{role}'); grant select on documents to {role}")
        with serving(only(model), database.conninfo, search_url=conninfo_as(database, role)) as client:
            assert keys(client.post("/api/v1/search", json=ASKED)) == [1, 2, 3, 4]
            connection.execute(
                f"drop policy p on documents; create policy p on documents to {role} using"
                " (coalesce(current_setting('app.tenant', true), '') = '')"
            )
            assert keys(client.post("/api/v1/search", json=ASKED)) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_database_that_is_away_is_no_failure_of_the_service(database: Database, model: Session) -> None:
    with serving(only(model), database.conninfo, search_url="postgresql://app@127.0.0.1:1/x") as client:
        answer = client.post("/api/v1/search", json=ASKED)
    assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")


WRONG = {
    "password": ({"password": "guessed"}, 'password authentication failed for user "{role}"'),
    "role": ({"user": "stranger"}, 'password authentication failed for user "stranger"'),
    "database": ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
    "right": ({}, 'permission denied for database "{database}"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
def test_a_role_that_the_server_refuses_is_named_and_nobody_is_told_to_try_again(
    wrong: str, roles: Roles, database: Database, model: Session, log: list[EventDict]
) -> None:
    role = roles.make("app", "noinherit")
    other, reason = WRONG[wrong]
    if wrong == "right":
        with database.connect() as connection:
            connection.execute(f"revoke connect on database {database.name} from public")
    url = make_conninfo(conninfo_as(database, role), **other)
    with serving(only(model), database.conninfo, search_url=url) as client:
        answers = [client.post("/api/v1/search", json=ASKED) for _ in range(2)]
    said = reason.format(role=role, database=database.name)
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (502, "database_refused")
        assert "retry-after" not in answer.headers
        assert answer.json()["message"].startswith(f"The database refuses the connection: {said}. Correct the URL of")
    (event,) = [event for event in log if event["event"] == "database_refused"]
    assert said in event["error"]
    assert "guessed" not in str((event, [answer.text for answer in answers]))


@pytest.mark.slow
def test_a_password_that_is_corrected_serves_at_once(roles: Roles, database: Database, model: Session) -> None:
    role = roles.make("app", "noinherit")
    with database.connect() as connection:
        make_library(connection, model)
        connection.execute(f"select pgembedd.grant_search('{role}'); grant select on documents to {role}")
        url = make_conninfo(conninfo_as(database, role), password="new")
        with serving(only(model), database.conninfo, search_url=url) as client:
            assert client.post("/api/v1/search", json=ASKED).status_code == 502
            connection.execute(f"alter role {role} password 'new'")
            eventually(lambda: client.post("/api/v1/search", json=ASKED).status_code == 200)


# -- Public keys ----------------------------------------------------------------------------------------------


def test_users_tokens_of_an_issuer_with_public_keys(searched: Searched, model: Session, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(__import__("json").dumps({"keys": [{**public, "kid": "one", "alg": "ES256"}]}))
    claims = {"sub": "bob", "exp": int(time.time()) + 600, "aud": "authenticated"}
    with serving(
        only(model),
        searched.database.conninfo,
        search_url=conninfo_as(searched.database, searched.role),
        http_jwks=str(jwks),
        http_jwt_audience="authenticated",
    ) as client:

        def status(token: str) -> int:
            return client.post("/api/v1/search", json=ASKED, headers={"authorization": f"Bearer {token}"}).status_code

        token = jwt.encode(claims, private, "ES256", headers={"kid": "one"})
        assert keys(client.post("/api/v1/search", json=ASKED, headers={"authorization": f"Bearer {token}"})) == [2]
        assert client.post("/api/v1/search", json=ASKED).status_code == 401, "with keys, a token is needed"
        assert status(jwt.encode(claims | {"aud": "another"}, private, "ES256", headers={"kid": "one"})) == 401
        assert status(jwt.encode(claims, private, "ES256", headers={"kid": "two"})) == 401
        assert status(jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "one"})) == 401
