"""Bodies that go to the database as they came: parsed here only to see what they are."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import psycopg
from fastapi import Depends, Request

from pgembedd.database.connection import is_connection_error
from pgembedd.database.pushed_jobs import Posted
from pgembedd.errors import DatabaseUnavailableError
from pgembedd.http.errors import Refusal
from pgembedd.loop.push import BusyError, Claim, PushHandler
from pgembedd.loop.pushed_jobs import Outcome

RETRY_AFTER_S = 10  # as often as pg_cron posts


async def _raw(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_raw)]
"""A route's parameter: the whole body."""

# An escaped NUL, which Postgres keeps in no text, so that no key and no name can have one.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

NumberedEvent = list[tuple[Posted, Outcome]]
"""What became of each."""


def parsed(body: bytes, parse_float: Callable[[str], float] = float) -> tuple[str, Any]:
    """The body as text, and the JSON value that it is. Refusal 400 where it is none, 422 where there is no body."""
    if not body:
        raise Refusal(422, "The body is empty: send JSON.")
    try:
        text = body.decode()
        return _NUL.sub(r"\1\\ufffd", text), json.loads(text, parse_constant=_no_constant, parse_float=parse_float)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Refusal(400, "The body is not valid JSON.", "invalid_json") from None


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def finite(number: str) -> float:
    """For `parsed` where values are sent back: 1e400 would come out as Infinity, with which an answer is no JSON."""
    value = float(number)
    if not math.isfinite(value):
        raise Refusal(422, "The body holds a number that is too large.")
    return value


def worked(pushes: PushHandler, claim: Claim) -> NumberedEvent:
    """What became of each that was posted. Refusal where nothing could be begun."""
    try:
        with judged():
            return pushes.work(claim)
    except BusyError as busy:
        raise Refusal(503, str(busy), "busy", retry_after_s=RETRY_AFTER_S) from None


@contextmanager
def judged() -> Iterator[None]:
    """What the database says of a body becomes a Refusal."""
    try:
        yield
    except psycopg.errors.InvalidParameterValue as refused:  # what our own functions refuse with
        sentences = (refused.diag.message_primary, refused.diag.message_hint)
        raise Refusal(422, " ".join(filter(None, sentences))) from None
    except psycopg.DataError:
        raise Refusal(422, "The body holds something that Postgres cannot keep as JSON.") from None
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.QueryCanceled,
        psycopg.errors.SerializationFailure,
        psycopg.errors.DeadlockDetected,
    ):
        raise Refusal(503, "Something in the database is in the way; send it again.", "busy") from None
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege):
        sentence = "The database is not ready for this: run `pgembedd migrate`, then `pgembedd doctor`."
        raise Refusal(503, sentence) from None
    except psycopg.Error as error:
        if is_connection_error(error):
            raise DatabaseUnavailableError("The database went away.") from error
        raise


def schema(description: str, kind: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A request body for the OpenAPI document."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {"application/json": {"schema": kind()}},
        }
    }
