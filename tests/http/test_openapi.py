"""What the OpenAPI document says is what the service does, whatever a client makes of it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import Case, CheckFunction
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.schemas import BaseSchema

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.http.app import build_app
from pgembedd.http.context import ServiceContext
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.worker import brisk

FREE = {"/livez", "/readyz", "/startupz"}


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: Database, model: Session) -> Iterator[httpx.Client]:
    """All there is: a token, the real model, a migrated database with a pipeline."""
    with fresh_database(server, template.name) as database:
        with database.connect() as connection:
            connection.execute("create table documents (id bigint generated always as identity primary key, body text)")
            connection.execute(
                "select pgembedd.create_pipeline('documents', 'documents', content_columns => array['body'], "
                "embedding_column => 'embedding', model => 'all-MiniLM-L6-v2')"
            )
            connection.execute("insert into documents (body) values ('hello world'), ('How do I reset my password?')")
        with serving(only(model), database.conninfo, http_token=TOKEN) as client:
            assert client.post("/embed", json={"input": "x"}).status_code == 200
            yield client


def described() -> BaseSchema:
    """What a service with a database says of itself, without one being reached: tests are made of it."""
    service = ServiceContext(brisk(), HttpSettings(http_token=TOKEN), ModelRegistry(never), "host=127.0.0.1 port=1")
    document = build_app(service).openapi()
    service.close()
    return schemathesis.openapi.from_dict(document)


def never(name: str) -> Embedder:
    raise AssertionError(name)


DOCUMENT = described()
QUICK = hypothesis.settings(max_examples=10, derandomize=True, deadline=None, database=None)
LONG = hypothesis.settings(QUICK, max_examples=150)
# What a text is to a model is more than a document can say: not blank, no model beside a pipeline.
EXCLUDED: list[CheckFunction] = [positive_data_acceptance]
PASSWORD = "Basic " + b64encode(f"x:{TOKEN}".encode()).decode()  # opens the page only
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    (path, method): operation
    for path, methods in DOCUMENT.raw_schema["paths"].items()
    for method, operation in methods.items()
}


def as_described(path: str, method: str, settings: hypothesis.settings) -> Callable[..., None]:
    """The test that answers of an operation are as described."""

    def test(case: Case[Any], service: httpx.Client) -> None:
        check(case, service)

    own = DOCUMENT.include(path=path, method=method.upper())
    return cast(Callable[..., None], own.parametrize()(settings(test)))


# A function each: those that schemathesis makes of one function share an id, and of these pytest-xdist runs one.
for _path, _method in OPERATIONS:
    if _path != "/events":  # an answer without an end: test_events.py
        _name = re.sub(r"\W+", "_", f"{_method}{_path}").strip("_")
        globals()[f"test_answers_are_as_described_{_name}"] = as_described(_path, _method, QUICK)
        globals()[f"test_answers_are_as_described_for_long_{_name}"] = pytest.mark.slow(
            as_described(_path, _method, LONG)
        )


def check(case: Case[Any], service: httpx.Client) -> None:
    # A pushed job that makes no sense fails alone, in an answer to all; parameters that a GET does not know it ignores.
    lenient = case.path == "/functions/v1/embed" or case.method == "GET"
    excluded = [*EXCLUDED, negative_data_rejection] if lenient else EXCLUDED
    case.call_and_validate(base_url=str(service.base_url), headers=AUTHORISED, excluded_checks=excluded)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_strangers_are_let_into_nothing(service: httpx.Client, path: str, method: str) -> None:
    operation = OPERATIONS[path, method]
    assert (path in FREE) == ("security" not in operation)
    if path in FREE:
        return
    assert "401" in operation["responses"]
    with httpx.Client(base_url=service.base_url, trust_env=False) as stranger:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": PASSWORD}):
            answer = stranger.request(method, path.replace("{model}", "m"), headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_document_is_that_of_the_service(service: httpx.Client) -> None:
    assert service.get("/openapi.json").json() == DOCUMENT.raw_schema
