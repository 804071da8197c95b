"""What the OpenAPI document says is what the service does, whatever a client makes of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import hypothesis
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.http.app import build_app
from pgembedd.http.context import ServiceContext
from pgembedd.http.paths import API
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from pgembedd.settings.limits import ADDRESS
from tests.project.public_names import http_document
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import PLAIN, TOKEN, serving
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.servers.huggingface import StandInHuggingFace
from tests.support.servers.ollama import StandInOllama
from tests.support.worker import brisk

if TYPE_CHECKING:  # half a second of every process
    from schemathesis import Case
    from schemathesis.schemas import BaseSchema

FREE = {"/livez", "/readyz", "/startupz"}


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: Database, model: Session) -> Iterator[httpx.Client]:
    """All there is: a token, the real model, a migrated database with a pipeline."""
    with temporary_roles(server) as roles, fresh_database(server, template.name) as database:
        role = roles.make("app", "noinherit")
        with database.connect() as connection:
            connection.execute("create table documents (id bigint generated always as identity primary key, body text)")
            connection.execute(
                "select pgembedd.create_pipeline('documents', 'documents', content_columns => array['body'], "
                "embedding_column => 'embedding', model => 'all-MiniLM-L6-v2')"
            )
            connection.execute("insert into documents (body) values ('hello world'), ('How do I reset my password?')")
            connection.execute(f"select pgembedd.grant_search('{role}'); grant select on documents to {role}".encode())
        with (
            pytest.MonkeyPatch.context() as unlimited,
            StandInOllama().running() as ollama,
            StandInHuggingFace().running() as huggingface,
            serving(
                only(model),
                database.conninfo,
                http_token=TOKEN,
                language_host=ollama.url,
                tasks_host=huggingface.url,
                search_url=conninfo_as(database, role),
            ) as client,
        ):
            unlimited.setattr("pgembedd.http.auth.throttle.MAX_FAILURES", 1_000_000)  # of wrong tokens
            assert client.post("/embed", json={"input": "x"}).status_code == 200
            yield client


@pytest.fixture(scope="module")
def described() -> BaseSchema:
    """What a service with a database says of itself, without one being reached."""
    import schemathesis

    service = ServiceContext(brisk(), HttpSettings(http_token=TOKEN), ModelRegistry(never), "host=127.0.0.1 port=1")
    document = build_app(service).openapi()
    service.close()
    return schemathesis.openapi.from_dict(document)


def never(name: str) -> Embedder:
    raise AssertionError(name)


SETTINGS = hypothesis.settings(max_examples=75, derandomize=True, deadline=None, database=None)
PASSWORD = "Basic " + b64encode(f"x:{TOKEN}".encode()).decode()  # opens the page only
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
# By name, so that only the process that runs these tests makes the document, and schemathesis its cases of it.
OPERATIONS = [
    ("/livez", "get"),
    ("/readyz", "get"),
    ("/startupz", "get"),
    ("/embed", "post"),
    ("/api/v1/search", "post"),
    ("/api/v1/search", "get"),
    ("/functions/v1/search", "post"),
    ("/embed", "get"),
    ("/functions/v1/embed", "get"),
    ("/functions/v1/embed", "post"),
    ("/v1/embeddings", "post"),
    ("/v1/models", "get"),
    ("/v1/models/{model}", "get"),
    ("/v1/rerank", "post"),
    ("/v2/rerank", "post"),
    ("/v1/chat/completions", "post"),
    ("/api/v1/generate", "get"),
    ("/api/v1/generate", "post"),
    ("/functions/v1/generate", "get"),
    ("/functions/v1/generate", "post"),
    ("/functions/v1/text-to-image", "post"),
    ("/api/v1/tasks/{task}", "post"),
    ("/api/v1/answers", "post"),
    ("/api/v1/answers/{answer}", "get"),
    ("/api/v1/answers/{answer}/stop", "post"),
    ("/webhooks/database", "post"),
    ("/api/v1/events", "get"),
    ("/metrics", "get"),
    ("/api/v1/status", "get"),
    ("/api/v1/retry", "post"),
]
THAT_END = [operation for operation in OPERATIONS if operation[0] != "/api/v1/events"]  # that one is in test_events.py


def test_errors_of_our_own_paths_have_one_shape() -> None:
    described = http_document()["paths"]
    told = [
        (path, status, answer.get("content", {}).get("application/json", {}).get("schema"))
        for path, operations in described.items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if path.startswith(f"{API}/") and status >= "400"
    ]
    assert len(told) > 50
    assert [one for one in told if one[2] != {"$ref": "#/components/schemas/Problem"}] == []


@pytest.mark.slow
def test_the_document_has_these_operations_and_no_others(described: BaseSchema) -> None:
    paths = described.raw_schema["paths"]
    assert sorted(OPERATIONS) == sorted((path, method) for path, methods in paths.items() for method in methods)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), THAT_END)
def test_answers_are_as_described(described: BaseSchema, service: httpx.Client, path: str, method: str) -> None:
    run_cases(described.include(path=path, method=method.upper()), service)


def run_cases(operation: BaseSchema, service: httpx.Client) -> None:
    """Run what schemathesis makes of one operation, and makes only now."""
    from schemathesis.checks import load_all_checks
    from schemathesis.core.result import Ok
    from schemathesis.pytest.lazy import get_all_tests

    load_all_checks()

    def test(case: Case[Any]) -> None:
        check(case, service)

    (made,) = get_all_tests(schema=operation, test_func=test, settings=SETTINGS, given_kwargs=None)
    assert isinstance(made, Ok)
    made.ok()[1]()


def check(case: Case[Any], service: httpx.Client) -> None:
    from schemathesis.checks import negative_data_rejection, positive_data_acceptance

    # Texts of other scripts take up to twelve bytes a character in an address: 431, or no HTTP for the server's parser.
    if len(urlencode(case.query or {}, doseq=True, errors="replace")) > ADDRESS // 2:
        return
    # What a text is to a model is more than a document can say: not blank, no model next to a pipeline.
    excluded = [positive_data_acceptance]
    # A pushed job that makes no sense fails alone, in an answer to all; unknown parameters of an address are ignored.
    lenient = case.path == "/functions/v1/embed" or case.path.endswith("/generate") or case.method == "GET"
    if lenient:
        excluded.append(negative_data_rejection)
    case.call_and_validate(base_url=str(service.base_url), headers=AUTHORISED, excluded_checks=excluded)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_strangers_are_let_into_nothing(service: httpx.Client, described: BaseSchema, path: str, method: str) -> None:
    operation = described.raw_schema["paths"][path][method]
    assert (path in FREE) == ("security" not in operation)
    if path in FREE:
        return
    assert "401" in operation["responses"]
    with httpx.Client(base_url=service.base_url, trust_env=False, verify=PLAIN) as stranger:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": PASSWORD}):
            answer = stranger.request(method, path.replace("{model}", "m"), headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_document_is_that_of_the_service(service: httpx.Client, described: BaseSchema) -> None:
    assert service.get("/openapi.json").json() == described.raw_schema
