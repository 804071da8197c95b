"""`from pgembedd import Database`: searches from a program, over a connection that is opened when it is needed."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import psycopg

from pgembedd.conninfo import conninfo_from_environment
from pgembedd.database.connect import connect, connect_async
from pgembedd.database.owners import OURS, check_owners, refuse_foreign
from pgembedd.database.queries import query
from pgembedd.database.schema_check import lacks_function
from pgembedd.embedded_postgres import running_conninfo
from pgembedd.errors import ConfigurationError, DatabaseUnavailableError, SchemaError, SearchError
from pgembedd.search.calls import (
    Call,
    SearchManyOptions,
    SearchOptions,
    SimilarOptions,
    explain_call,
    pipelines_call,
    row_call,
    search_call,
    search_many_call,
    similar_call,
)
from pgembedd.search.hits import Hit, Hits, Pipeline, PipelineHits
from pgembedd.search.reranked import DEFAULT_K, Rerankers, widened, with_texts
from pgembedd.search.run import raise_search_error, run, run_async, run_with_notices, run_with_notices_async

Result = TypeVar("Result")
Work = Callable[[psycopg.Connection], Result]
AsyncWork = Callable[[psycopg.AsyncConnection], Awaitable[Result]]


class Database:
    """Searches a database as the role of its URL. One connection, which threads use by turns.

    Every method raises SearchError: for what Postgres refuses, and for a database that cannot be reached. A connection
    that was lost in the meantime is opened again.
    """

    def __init__(self, url: str | None = None) -> None:
        """Connects on first use to `url`, DATABASE_URL, libpq's own variables, or the private Postgres that runs here.

        SearchError without any.
        """
        self._url = _url(url)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._rerankers = Rerankers()

    def search(
        self, pipeline: str, query: str | None, *, rerank: str | None = None, **options: Unpack[SearchOptions]
    ) -> Hits:
        """Returns the best hits of the query, best first; `query` may be None where `embedding` is given.

        `rerank` names a reranker, which reads the first 20 hits in this process, and whose order is fused with theirs.
        """
        if rerank is None:
            return self._hits(search_call(pipeline, query, options))
        hits = self._hits(search_call(pipeline, query, widened(options)))
        read = self._hits(search_call(pipeline, query, with_texts(options)))
        return self._rerankers.rerank(rerank, query, hits, read, options.get("k", DEFAULT_K))

    def search_many(self, pipelines: Sequence[str], query: str, **options: Unpack[SearchManyOptions]) -> PipelineHits:
        """Returns the best hits of up to twenty pipelines in one order, each with the name of its pipeline."""
        call = search_many_call(pipelines, query, options)
        return PipelineHits(*self._call(lambda connection: run_with_notices(connection, call)))

    def similar(self, pipeline: str, key: Any, **options: Unpack[SimilarOptions]) -> Hits:
        """Returns the rows that are most like the row of that key, without it."""
        return self._hits(similar_call(pipeline, key, options))

    def row(self, pipeline: str, key: Any, limit: int | None = None) -> dict[str, Any] | None:
        """Returns the columns that the role may read of the row of that key, without vectors; None for no row.

        With `limit` a larger row is cut to about so many bytes, as a hit's is.
        """
        return self._call(lambda connection: run(connection, row_call(pipeline, key, limit)))

    def pipelines(self) -> list[Pipeline]:
        """Returns the pipelines that the role may search, by name."""
        return self._call(lambda connection: run(connection, pipelines_call()))

    def explain(
        self, pipeline: str, query: str | None, *, with_hits: bool = False, **options: Unpack[SearchOptions]
    ) -> dict[str, Any]:
        """Returns how this search finds what it finds, as explain_search() in SQL."""
        call = explain_call(pipeline, query, options, with_hits=with_hits)
        return self._call(lambda connection: run(connection, call))

    def close(self) -> None:
        """Closes the connection and the rerankers, if there are any; the next call opens another connection."""
        self._rerankers.close()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _hits(self, call: Call[list[Hit]]) -> Hits:
        return Hits(*self._call(lambda connection: run_with_notices(connection, call)))

    def _call(self, work: Work[Result]) -> Result:
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
        with _search_errors():
            opened = connect(self._url, autocommit=True)
            try:
                check_owners(opened)
            except BaseException:
                opened.close()
                raise
            return opened


class AsyncDatabase:
    """As Database, for asyncio: `async with AsyncDatabase(url) as database: await database.search(…)`."""

    def __init__(self, url: str | None = None) -> None:
        """Connects on first use to `url`, DATABASE_URL, libpq's own variables, or the private Postgres that runs here.

        SearchError without any.
        """
        self._url = _url(url)
        self._lock = asyncio.Lock()
        self._connection: psycopg.AsyncConnection | None = None
        self._rerankers = Rerankers()

    async def search(
        self, pipeline: str, query: str | None, *, rerank: str | None = None, **options: Unpack[SearchOptions]
    ) -> Hits:
        """Returns the best hits of the query, best first; `query` may be None where `embedding` is given.

        `rerank` names a reranker, which reads the first 20 hits in this process, and whose order is fused with theirs.
        """
        if rerank is None:
            return await self._hits(search_call(pipeline, query, options))
        hits = await self._hits(search_call(pipeline, query, widened(options)))
        read = await self._hits(search_call(pipeline, query, with_texts(options)))
        return await asyncio.to_thread(self._rerankers.rerank, rerank, query, hits, read, options.get("k", DEFAULT_K))

    async def search_many(
        self, pipelines: Sequence[str], query: str, **options: Unpack[SearchManyOptions]
    ) -> PipelineHits:
        """Returns the best hits of up to twenty pipelines in one order, each with the name of its pipeline."""
        call = search_many_call(pipelines, query, options)
        return PipelineHits(*await self._call(lambda connection: run_with_notices_async(connection, call)))

    async def similar(self, pipeline: str, key: Any, **options: Unpack[SimilarOptions]) -> Hits:
        """Returns the rows that are most like the row of that key, without it."""
        return await self._hits(similar_call(pipeline, key, options))

    async def row(self, pipeline: str, key: Any, limit: int | None = None) -> dict[str, Any] | None:
        """Returns the columns that the role may read of the row of that key, without vectors; None for no row.

        With `limit` a larger row is cut to about so many bytes, as a hit's is.
        """
        return await self._call(lambda connection: run_async(connection, row_call(pipeline, key, limit)))

    async def pipelines(self) -> list[Pipeline]:
        """Returns the pipelines that the role may search, by name."""
        return await self._call(lambda connection: run_async(connection, pipelines_call()))

    async def explain(
        self, pipeline: str, query: str | None, *, with_hits: bool = False, **options: Unpack[SearchOptions]
    ) -> dict[str, Any]:
        """Returns how this search finds what it finds, as explain_search() in SQL."""
        call = explain_call(pipeline, query, options, with_hits=with_hits)
        return await self._call(lambda connection: run_async(connection, call))

    async def close(self) -> None:
        """Closes the connection and the rerankers, if there are any; the next call opens another connection."""
        await asyncio.to_thread(self._rerankers.close)
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _hits(self, call: Call[list[Hit]]) -> Hits:
        return Hits(*await self._call(lambda connection: run_with_notices_async(connection, call)))

    async def _call(self, work: AsyncWork[Result]) -> Result:
        async with self._lock:
            if self._connection is not None and not self._connection.closed:
                try:
                    return await work(self._connection)
                except SearchError as error:
                    if not self._connection.closed and not lacks_function(error.__cause__):
                        raise  # as above
                    await self._connection.close()
            self._connection = await self._open()
            return await work(self._connection)

    async def _open(self) -> psycopg.AsyncConnection:
        with _search_errors():
            opened = await connect_async(self._url, autocommit=True)
            try:
                async with opened.transaction():
                    await opened.execute(query("pin_path"), {"in_transaction": True})
                    found = await opened.execute(query("foreign_owner"), {"schemas": list(OURS)})
                    refuse_foreign(await found.fetchall())
            except BaseException:
                await opened.close()
                raise
            return opened


@contextmanager
def _search_errors() -> Iterator[None]:
    """Turns what keeps a connection from being opened into SearchError."""
    try:
        yield
    except psycopg.Error as error:
        raise_search_error(error)
    except (DatabaseUnavailableError, ConfigurationError, SchemaError) as error:
        raise SearchError(str(error)) from error


def _url(given: str | None) -> str:
    try:
        url = given if given is not None else conninfo_from_environment()
        url = url if url is not None else running_conninfo()
    except ConfigurationError as error:
        raise SearchError(str(error)) from error
    if url is None:
        raise SearchError("No database is named.", "Give a URL, or set DATABASE_URL, or let `pgembedd up` run here.")
    return url
