"""`from pgembedd import Database`: searches from a program, over a connection that is opened when it is needed."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import psycopg

from pgembedd.database.connect import connect
from pgembedd.database.owners import check_owners
from pgembedd.database.schema_check import lacks_function
from pgembedd.embedded_postgres import running_conninfo
from pgembedd.errors import ConfigurationError, DatabaseUnavailableError, SchemaError, SearchError
from pgembedd.search.engine import SearchEngine
from pgembedd.search.hits import Hits, Pipeline
from pgembedd.search.local_models import LocalModels
from pgembedd.search.options import SearchOptions
from pgembedd.search.run import raise_search_error
from pgembedd.settings.conninfo import conninfo_from_environment

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
CANCEL_S = 5.0  # for a connection on which nothing comes back


class Database(SearchEngine):
    """Searches a database as the role of its URL. One connection, which threads use by turns.

    Every method raises SearchError: for what Postgres refuses, and for a database that cannot be reached. A connection
    that was lost in the meantime is opened again.
    """

    def __init__(self, url: str | None = None) -> None:
        """Connects on first use to `url`, DATABASE_URL, libpq's own variables, or the private Postgres that runs here.

        SearchError without any.
        """
        self._local_models = LocalModels()
        super().__init__(self._in_turn, self._local_models)
        self._url = _url(url)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    def close(self) -> None:
        """Closes the connection and the rerankers, if there are any; the next call opens another connection."""
        self._local_models.close()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cancel(self) -> None:
        """Asks the server to cancel the statement under way, if there is one; it goes on where that cannot be asked."""
        if (connection := self._connection) is not None:
            with suppress(psycopg.Error):  # also of a connection that was closed meanwhile
                connection.cancel_safe(timeout=CANCEL_S)

    def _in_turn(self, work: Callable[[psycopg.Connection], Result]) -> Result:
        with self._lock:
            if self._connection is not None and not self._connection.closed:
                try:
                    return work(self._connection)
                except SearchError as error:
                    if not self._connection.closed and not lacks_function(error.__cause__):
                        raise  # else it was lost before, or the schema is not the one that was looked at: once more
                    self._connection.close()
            self._connection = self._open()
            return work(self._connection)

    def _open(self) -> psycopg.Connection:
        try:
            opened = connect(self._url, autocommit=True)
            try:
                check_owners(opened)
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        except psycopg.Error as error:
            raise_search_error(error)
        except (DatabaseUnavailableError, ConfigurationError, SchemaError) as error:
            raise SearchError(str(error)) from error


def _awaited(
    method: Callable[Concatenate[Database, Parameters], Result],
) -> Callable[Concatenate["AsyncDatabase", Parameters], Coroutine[Any, Any, Result]]:
    """Returns the method for asyncio: in a thread, one at a time, and ended in the database where it is cancelled."""

    @wraps(method)
    async def call(self: "AsyncDatabase", /, *args: Parameters.args, **options: Parameters.kwargs) -> Result:
        async with self._turn:
            running = asyncio.ensure_future(asyncio.to_thread(method, self._database, *args, **options))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.to_thread(self._database._cancel)
                raise

    return call


class AsyncDatabase:
    """As Database, for asyncio: `async with AsyncDatabase(url) as database: await database.search(…)`."""

    def __init__(self, url: str | None = None) -> None:
        """Takes what Database takes."""
        self._database, self._turn = Database(url), asyncio.Lock()

    async def search(self, pipeline: str | Pipeline, query: str | None, **options: Unpack[SearchOptions]) -> Hits:
        """As Database.search(). Other calls go on while the reranker reads."""
        found = await self._find(pipeline, query, **options)
        if options.get("rerank") is None:
            return found
        return await asyncio.to_thread(self._database._rerank, found, query, **options)

    _find = _awaited(Database._find)
    search_many = _awaited(Database.search_many)
    similar = _awaited(Database.similar)
    row = _awaited(Database.row)
    pipelines = _awaited(Database.pipelines)
    explain = _awaited(Database.explain)
    close = _awaited(Database.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _url(given: str | None) -> str:
    try:
        url = given if given is not None else conninfo_from_environment()
        url = url if url is not None else running_conninfo()
    except ConfigurationError as error:
        raise SearchError(str(error)) from error
    if url is None:
        raise SearchError("No database is named.", "Give a URL, or set DATABASE_URL, or let `pgembedd up` run here.")
    return url
