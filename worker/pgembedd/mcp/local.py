"""The server on standard input and output, for one client on this machine."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import psycopg
from mcp.server import Server
from mcp.server.stdio import stdio_server

from pgembedd.answers.questions import Question, Questions
from pgembedd.answers.watch import ask_and_wait
from pgembedd.errors import PgembeddError
from pgembedd.mcp.server import build_server
from pgembedd.mcp.tools import ANSWER_TIMEOUT_S
from pgembedd.search.client import Database
from pgembedd.search.local_models import LocalModels
from pgembedd.search.role import begin_search

MAX_ASKING = 64  # calls that wait for their answers, which take minutes, in threads apart from those that search
Result = TypeVar("Result")


class RoleSearches(Database):
    """Searches as the role of a URL, which is checked in each transaction."""

    def __init__(self, url: str, models: LocalModels) -> None:
        """Connects on first use. The models are closed with it."""
        super().__init__(url)
        self._models = self._local_models = models

    def answer(self, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question. SearchError."""
        return ask_and_wait(Questions(self._run_as), asked, ANSWER_TIMEOUT_S)

    def _in_turn(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        def as_role(connection: psycopg.Connection) -> Result:
            with connection.transaction():
                begin_search(connection, None)
                return work(connection)

        return super()._in_turn(as_role)


def serve_stdio(url: str, models: LocalModels) -> None:
    """Answers a client until its end of the pipe is closed."""
    with RoleSearches(url, models) as searches:
        answer = partial(anyio.to_thread.run_sync, limiter=anyio.CapacityLimiter(MAX_ASKING))
        server = build_server(
            lambda _: searches,
            lambda _, asked: answer(searches.answer, asked),
            lambda error: str(error) if isinstance(error, PgembeddError) else None,
        )
        anyio.run(_serve, server)


async def _serve(server: Server[Any]) -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
