"""The server on standard input and output, for one client on this machine."""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import psycopg
from mcp.server import Server
from mcp.server.stdio import stdio_server

from pgembedd.errors import PgembeddError
from pgembedd.mcp.server import build_server
from pgembedd.search.calls import SearchOptions, SimilarOptions, pipelines_call
from pgembedd.search.database import Database
from pgembedd.search.hits import Hits
from pgembedd.search.local_models import LocalModels, check_unchanged
from pgembedd.search.questions import Question, ask_and_wait
from pgembedd.search.role import begin_search
from pgembedd.search.run import run, search

Result = TypeVar("Result")
ANSWER_TIMEOUT_S = 120.0


class RoleSearches(Database):
    """Searches as the role of a URL, which is checked in each transaction."""

    def __init__(self, url: str, models: LocalModels) -> None:
        """Connects on first use."""
        super().__init__(url)
        self._models = models

    def find(self, pipeline: str, text: str, options: SearchOptions) -> Hits:
        """Returns the hits; embeds the text here where the model's files are, else a worker does."""
        found = self._call(lambda connection: run(connection, pipelines_call(pipeline)))
        if not found or options.get("mode") == "text":
            return self.search(pipeline, text, **options)
        asked: SearchOptions = {**options}
        if (vector := self._models.vector(found[0], text)) is not None:
            asked["embedding"] = vector

        def work(connection: psycopg.Connection) -> Hits:
            hits = search(connection, pipeline, text, **asked)
            check_unchanged(connection, found[0])
            return hits

        return self._call(work)

    def like(self, pipeline: str, key: Any, options: SimilarOptions) -> Hits:
        """Returns the rows most like the row of that key."""
        return self.similar(pipeline, key, **options)

    def answer(self, asked: Question) -> dict[str, Any]:
        """Returns the finished answer to a question, which a worker makes."""
        return ask_and_wait(self._call, asked, ANSWER_TIMEOUT_S)

    def _call(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        def as_role(connection: psycopg.Connection) -> Result:
            with connection.transaction():
                begin_search(connection, None)
                return work(connection)

        return super()._call(as_role)


def serve_stdio(url: str, models: LocalModels) -> None:
    """Answers a client until its end of the pipe is closed."""
    with RoleSearches(url, models) as searches:
        server = build_server(
            lambda _: searches, lambda error: str(error) if isinstance(error, PgembeddError) else None
        )
        anyio.run(_serve, server)


async def _serve(server: Server[Any]) -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
