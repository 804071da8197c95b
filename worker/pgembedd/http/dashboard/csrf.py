"""What a browser's form sends: read, and refused when another page sent it."""

from urllib.parse import parse_qsl

from fastapi import Request

from pgembedd.http.errors import Refusal
from pgembedd.http.sessions import Sessions

MOST_FIELDS = 20
_STALE = "This form is not from a page that was opened here, or is too old: go back, load the page again, and repeat."


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form; Refusal 415 or 400 for what is none."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().casefold()
    if kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "This path takes the form of the page; programs use /api.")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Refusal(400, "The form cannot be read.") from error
    if any("\0" in value for _, value in pairs):
        raise Refusal(400, "The form holds a character of code zero, which no text in Postgres can.")
    return dict(pairs)


def check_form(sessions: Sessions, request: Request, fields: dict[str, str]) -> None:
    """Refusal 403 unless the browser got this form from us, and one of our pages sends it."""
    if not sessions.is_ours(request, fields.get("form_token", "")):
        raise Refusal(403, _STALE, "form_stale")
