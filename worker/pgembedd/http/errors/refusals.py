"""Errors as responses: one sentence with a status, in the shape that the path's clients expect."""

from math import ceil
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field
from starlette.types import Scope

from pgembedd.errors import (
    ConfigurationError,
    ContextTooLongError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    GenerationError,
    GenerationTimeoutError,
    GenerationUnavailableError,
    ModelError,
    ModelMismatchError,
    ModelNotConfiguredError,
    ModelUnavailableError,
    OtherSchemaError,
    OverloadedError,
    PgembeddError,
    ProviderBusyError,
    ProviderRefusedError,
    SearchError,
    SearchRoleError,
    UnknownTokenError,
)
from pgembedd.http.errors.openapi import body_of
from pgembedd.http.paths import OPENAI

RETRY_AFTER_S = 5
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before it had an answer
UNAVAILABLE = "The database cannot be reached at the moment; try again."
SERVICE_REMEDY = "Correct the connection string of this service (DATABASE_URL), or what the server allows its role."

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "wrong_shape",
    431: "headers_too_large",
    429: "too_many_requests",
    500: "internal_error",
    501: "not_configured",
    502: "bad_gateway",
    503: "unavailable",
    504: "timeout",
}


SECURITY_HEADERS = {
    "cache-control": "no-store",  # a vector tells nearly as much as its text
    "x-content-type-options": "nosniff",
}
"""Of every response. Refusals have them by themselves, as some are sent outside of the middleware that sets them."""


class Problem(BaseModel):
    """The body of every error, except on /v1."""

    error: str = Field(description="One word for programs.")
    message: str = Field(description="One sentence for people.")


def speaks_openai(path: str) -> bool:
    """Tells whether the path's clients expect errors of OpenAI's shape; those of /v1/rerank do not."""
    return path.startswith(f"{OPENAI}/") and path != f"{OPENAI}/rerank"


class Refusal(Exception):  # noqa: N818  named after its meaning to the client
    """The answer to a request that is not served."""

    def __init__(
        self, status: int, sentence: str, code: str = "", *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        """`code` is one word for programs, `param` the field at fault, `retry_after_s` the delay before another try."""
        super().__init__(sentence)
        self.status, self.sentence, self.code = status, sentence, code or CODES.get(status, "error")
        self.param, self.retry_after_s = param, retry_after_s


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the errors that a route declares in the OpenAPI document."""
    return {status: {**body_of(Problem), "description": CODES[status].replace("_", " ")} for status in statuses}


def refusal_response(path: str, refusal: Refusal) -> Response:
    """Returns the refusal as JSON, on OpenAI's paths in the shape of its API."""
    if speaks_openai(path):
        body: dict[str, Any] = {"error": openai_problem(refusal)}
    else:
        body = problem_of(refusal)
    return Response(orjson.dumps(body), refusal.status, refusal_headers(refusal), "application/json")


def problem_of(refusal: Refusal) -> dict[str, str]:
    """Returns the refusal as Problem."""
    return {"error": refusal.code, "message": refusal.sentence}


def openai_problem(refusal: Refusal) -> dict[str, Any]:
    """Returns the refusal in the shape of OpenAI's API."""
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    return {"message": refusal.sentence, "type": kind, "param": refusal.param, "code": refusal.code}


def refusal_headers(refusal: Refusal, challenge: str = "Bearer") -> dict[str, str]:
    """Returns the headers of a refusal; `challenge` is the scheme of authentication that a 401 asks for."""
    headers = dict(SECURITY_HEADERS)
    if refusal.status == 401:  # the body of a request without a token is not read
        headers |= {"www-authenticate": challenge, "connection": "close"}
    if refusal.status in (429, 503):
        headers["retry-after"] = str(refusal.retry_after_s or RETRY_AFTER_S)
    return headers


# The first that fits decides the status, and the word for programs; the sentence is the error's own.
_BY_TYPE: tuple[tuple[type[PgembeddError], int, str], ...] = (
    (ModelMismatchError, 409, "model_mismatch"),
    (ModelNotConfiguredError, 501, "model_not_configured"),
    (ModelUnavailableError, 503, "model_unavailable"),
    (ProviderRefusedError, 503, "provider_refused"),
    (ModelError, 500, "model_error"),
    (OtherSchemaError, 503, "schema_missing"),
    (ProviderBusyError, 503, "provider_busy"),
    (OverloadedError, 503, "overloaded"),
    (ContextTooLongError, 400, "context_length_exceeded"),
    (GenerationTimeoutError, 504, "timeout"),
    (GenerationUnavailableError, 503, "language_model_unavailable"),
    (SearchRoleError, 501, "search_role_refused"),
    (ConfigurationError, 400, "bad_request"),
)


def refusal_of(error: Exception) -> Refusal | None:
    """Returns the refusal for one of our own errors; None for any other, which is a defect."""
    if isinstance(error, Refusal):
        return error
    for kind, status, code in _BY_TYPE:
        if isinstance(error, kind):
            wait_s = getattr(error, "retry_after_s", 1 if kind is OverloadedError else None)
            return Refusal(status, str(error), code, retry_after_s=None if wait_s is None else ceil(wait_s))
    match error:
        case DatabaseRefusedError():
            return refusal_of_database(error)
        case DatabaseUnavailableError():
            return Refusal(503, UNAVAILABLE, "database_unavailable")
        case SearchError():
            return _search_refusal(error)
        case UnknownTokenError():
            return Refusal(400, str(error), "unknown_token", param="input")
        case GenerationError(status=404):
            return Refusal(404, str(error), "model_not_found", param="model")
        case GenerationError():  # with another status the key is at fault, which is the operator's
            return Refusal(400 if error.status in (400, 413, 422) else 502, str(error))
    return None


def sentence_of(error: Exception) -> str | None:
    """Returns what a client is told of one of our own errors; None for any other."""
    refusal = refusal_of(error)
    return None if refusal is None else refusal.sentence


def own_refusal(error: Exception) -> Refusal:
    """Returns the refusal for one of our own errors; raises any other, which is a defect."""
    if (refusal := refusal_of(error)) is None:
        raise error
    return refusal


def refusal_of_database(error: DatabaseRefusedError, remedy: str = SERVICE_REMEDY) -> Refusal:
    """Returns the refusal for a server that refuses the connection, without its address; `remedy` says what to do."""
    return Refusal(502, f"The database refuses the connection: {error.reason}. {remedy}", "database_refused")


# By SQLSTATE, or its class: status, and one word for programs.
_SEARCH_REFUSALS = {
    "22": (422, "search_refused"),
    "42501": (403, "rights_missing"),
    "42703": (422, "search_refused"),
    "42704": (404, "pipeline_not_found"),
    "42804": (422, "search_refused"),
    "42809": (422, "search_refused"),
    "54000": (422, "search_refused"),
    "55000": (409, "conflict"),
    "P0002": (404, "not_found"),
}
_SEARCH_ERRORS = {
    "42883": (503, "schema_missing"),
    "3F000": (503, "schema_missing"),
    "53000": (503, "no_worker"),
    "53400": (429, "too_many_requests"),
    "55P03": (503, "busy"),
    "40": (503, "busy"),
    "53": (503, "busy"),
    "57014": (504, "timeout"),
}


def _search_refusal(error: SearchError) -> Refusal:
    """Returns Postgres's sentence where it is about the search; an error of a user's code may hold a row's text."""
    state = error.sqlstate or ""
    known = _SEARCH_REFUSALS if error.is_refusal else _SEARCH_ERRORS
    answer = known.get(state) or known.get(state[:2])
    if answer is None:
        return Refusal(409, f"The search failed in the database (SQLSTATE {state or 'unknown'}).", "search_failed")
    status, code = answer
    return Refusal(status, str(error), code)


def route_of(scope: Scope) -> str:
    """Returns the path as it is declared (`/v1/models/{model}`), never with a client's values."""
    return getattr(scope.get("route"), "path", "unknown")
