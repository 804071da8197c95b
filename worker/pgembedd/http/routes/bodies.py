"""Bodies of requests: models of them, and JSON that is passed to the database as text, with what it makes of them."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import psycopg
from fastapi import Depends, Request
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pgembedd.database.connection_errors import TRANSIENT, UserCodeError, is_connection_error
from pgembedd.errors import DatabaseUnavailableError, refusal_text
from pgembedd.http.errors.refusals import Refusal


class StrictModel(BaseModel):
    """A body without coercion, which has one error for all unknown fields: one for each of a million is a gigabyte."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.keys() <= cls.model_fields.keys():
            # Without the unknown name, which may be any text.
            names = {"names": ", ".join(cls.model_fields)}
            raise PydanticCustomError("extra_forbidden", "A field is none of {names}", names)
        return value


def one_error(sentence: str) -> WrapValidator:
    """Returns a validator that has this one sentence for all members of a union, instead of one for each."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(validate)


async def _raw_body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_raw_body)]
"""A route's parameter: the whole body."""

# An escaped NUL, which no text in Postgres can hold.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def parse_json(body: bytes, parse_float: Callable[[str], float] = float) -> tuple[str, Any]:
    """Returns the body as text and as a value. Refusal 400 for invalid JSON, 422 for an empty body."""
    if not body:
        raise Refusal(422, "The body is empty: send JSON.")
    try:
        text = body.decode()
        return _NUL.sub(r"\1\\ufffd", text), json.loads(text, parse_constant=_refuse_constant, parse_float=parse_float)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Refusal(400, "The body is not valid JSON.", "invalid_json") from None


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


def parse_finite_float(number: str) -> float:
    """For `parse_json` where values are sent back: 1e400 would become Infinity, which is not JSON."""
    value = float(number)
    if not math.isfinite(value):
        raise Refusal(422, "The body holds a number that is too large.")
    return value


def split_array(text: str) -> list[str]:
    """Returns the items of a valid JSON array, each as it is written."""
    decoder = json.JSONDecoder()
    items: list[str] = []
    at = _next(text, text.index("[") + 1)
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        items.append(text[at:end])
        at = _next(text, end)
        if text[at] == ",":
            at = _next(text, at + 1)
    return items


def _next(text: str, at: int) -> int:
    """Returns the position of the next character that is no white space."""
    while text[at] in " \t\r\n":
        at += 1
    return at


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translates errors of the database about a body to Refusals."""
    try:
        yield
    except psycopg.errors.InvalidParameterValue as refused:  # raised by our own functions
        raise Refusal(422, refusal_text(refused.diag)) from None
    except psycopg.DataError:
        raise Refusal(422, "The body holds something that Postgres cannot keep as JSON.") from None
    except TRANSIENT:
        sentence = "Another transaction in the database, or a limit of its server, blocks this; send it again."
        raise Refusal(503, sentence, "busy") from None
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege):
        sentence = "The database is not ready for this: run `pgembedd migrate`, then `pgembedd doctor`."
        raise Refusal(503, sentence) from None
    except UserCodeError:  # which it raises each time, under the name of an error that passes
        raise Refusal(503, "Code of the table fails on this now; send it again.", "busy") from None
    except psycopg.Error as error:
        if is_connection_error(error):
            raise DatabaseUnavailableError("The database went away.") from error
        raise


def body_schema(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a request body for the OpenAPI document."""
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "description": description, "content": content}}
