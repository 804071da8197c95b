"""The content for tests of the page: pipelines, dead letters and vectors, and forms sent without a browser."""

from __future__ import annotations

import json
import re
from html import unescape

import httpx
import psycopg

from pgembedd.model import Session
from tests.support.embedders import MODEL
from tests.support.http import PLAIN
from tests.support.sql import BACKFILL, call, claim, fail

HOSTILE = "<script>document.title = 'hacked'</script>"
TEXTS = {
    1: "How to reset a forgotten password",
    2: "Cats sleep most of the day",
    3: f"{HOSTILE} is how a cross-site script begins",
    4: "The invoice is due in thirty days",
}


def make_library(connection: psycopg.Connection, model: Session) -> None:
    """`documents` with a vector each, `broken` on a table of a hostile name whose three jobs are dead letters."""
    connection.execute("create table documents (id int primary key, body text)")
    call(connection, "create_pipeline", pipeline="documents", source="documents", model=MODEL, content_columns=["body"])
    vectors = model.embed(list(TEXTS.values())).vectors.tolist()
    for (key, text), vector in zip(TEXTS.items(), vectors, strict=True):
        connection.execute("insert into documents (id, body) values (%s, %s)", (key, text))
        connection.execute(
            "update documents set embedding = %s::text::halfvec where id = %s", (json.dumps(vector), key)
        )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = %s", (model.fingerprint,))
    connection.execute(f'create table "{HOSTILE}" (id int primary key, body text)')
    connection.execute(f"insert into \"{HOSTILE}\" select i, 'text ' || i from generate_series(1, 3) i")
    call(connection, "create_pipeline", pipeline="broken", source=f'"{HOSTILE}"', model=MODEL, content_columns=["body"])
    give_up(connection)
    # No sweep or sample behind the tests' back.
    connection.execute("update pgembedd_internal.installation set swept_at = now(), retained_at = now()")


def give_up(connection: psycopg.Connection) -> None:
    """Every job that is queued in the backfill lane becomes a dead letter; the third for another reason."""
    for job in claim(connection, BACKFILL):
        fail(connection, job, "write" if job.id == 3 else "content", f"{HOSTILE} failed", permanent=True)


class Visitor:
    """A browser without a screen: repeats its password, and follows nothing."""

    def __init__(self, address: httpx.URL | str) -> None:
        self.client = httpx.Client(base_url=address, timeout=60, trust_env=False, verify=PLAIN)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def log_in(self, token: str, user: str = "") -> None:
        """From now on every request has the token as its password."""
        self.client.auth = httpx.BasicAuth(user.encode(), token.encode())

    def get(self, path: str = "/") -> httpx.Response:
        """A page."""
        return self.client.get(path)

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        """Send a form, as curl does: no header says which page it is from."""
        form = {"content-type": "application/x-www-form-urlencoded"}
        return self.client.post(path, data=fields, headers=form | (headers or {}))


def text_of(answer: httpx.Response) -> str:
    """Returns the visible text of a page: no tags, one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())
