"""Parses the forms that a browser sends."""

from urllib.parse import parse_qsl

from fastapi import Request

from pgembedd.http.errors.refusals import Refusal

MAX_FIELDS = 20


async def form_fields(request: Request) -> dict[str, str]:
    """Returns the fields of a form; Refusal 415 or 400 for a body that is not one."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().casefold()
    if kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "This path takes the form of the page; programs use /api/v1.")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refusal(400, "The form cannot be read.") from error
    if any("\0" in value for _, value in pairs):
        raise Refusal(400, "The form holds a character of code zero, which no text in Postgres can.")
    return dict(pairs)
