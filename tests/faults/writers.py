"""Writers that go on whatever happens to the database, and know of each transaction whether it was committed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import psycopg

from tests.faults.author import Author, Transaction
from tests.faults.ledger import Ledger
from tests.faults.subjects import SUBJECTS, WRITERS_TABLE, Subject
from tests.support.waiting import eventually

THREADS = 3
AUTHORS = 16
"""Those of the threads, and others for transactions of a fault's own."""
PAUSE_S = (0.0, 0.08)
RETRY_S = 0.1
PARK_S = 180.0
"""Until every writer knows what became of its last transaction: a server may have to recover before."""


class Writer:
    """An author with a connection, in a thread."""

    def __init__(self, author: Author, connect: Callable[[], psycopg.Connection], may_lose: bool) -> None:
        """`may_lose`: the server may have lost transactions, which are then taken back from the ledger."""
        self.author, self._connect, self._may_lose = author, connect, may_lose
        self._opened: psycopg.Connection | None = None
        self._going, self._stopping = threading.Event(), threading.Event()
        self.parked = threading.Event()
        self.errors = 0
        self.broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer {author.number}", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Goes on."""
        self.parked.clear()
        self._going.set()

    def pause(self) -> None:
        """Parks after the transaction that is in progress."""
        self._going.clear()

    def stop(self) -> None:
        """Ends."""
        self._stopping.set()
        self._going.set()
        self._thread.join(PARK_S)
        self._close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._going.is_set():
                    self.parked.set()
                    self._going.wait()
                    continue
                self._write(self.author.plan())
                self._stopping.wait(self.author.random.uniform(*PAUSE_S))
        except BaseException as error:
            self.broken = error
            self.parked.set()

    def _write(self, transaction: Transaction) -> None:
        number = self.author.ledger.count(self.author.number) + 1
        committed = transaction.commits
        try:
            connection = self._connection()
            with connection.transaction(force_rollback=not transaction.commits):
                transaction.run(connection, self.author.number, number)
        except psycopg.Error:
            self.errors += 1
            committed = self._resolve(number)
        if committed:
            self.author.enter(transaction)

    def _resolve(self, number: int) -> bool:
        """Whether a transaction was committed whose answer did not come. Waits for its backend to end."""
        while not self._stopping.is_set():
            self._close()
            self._stopping.wait(RETRY_S)
            with contextlib.suppress(psycopg.Error), self._connection().transaction():
                select = f"select last from {WRITERS_TABLE} where id = %s for update"
                row = self._connection().execute(select.encode(), (self.author.number,)).fetchone()
                if row is None:
                    raise RuntimeError(f"The row of writer {self.author.number} is lost.")
                last = int(row[0])
                if self._may_lose and last < number - 1:
                    self.author.rewind(last)
                    return False
                if last not in (number - 1, number):
                    raise RuntimeError(f"Writer {self.author.number} committed {number - 1} and finds {last}.")
                return last == number
        return False

    def _connection(self) -> psycopg.Connection:
        if self._opened is None or self._opened.closed:
            self._opened = self._connect()
            self._opened.prepare_threshold = None  # a pooler may stand between
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()


class Writers:
    """All writers of a stage."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        seed: int,
        subjects: Sequence[Subject] = SUBJECTS,
        *,
        may_lose: bool = False,
    ) -> None:
        self.ledger = Ledger()
        self.authors = [Author(number, self.ledger, seed, subjects) for number in range(1, AUTHORS + 1)]
        self._writers = [Writer(author, connect, may_lose) for author in self.authors[:THREADS]]

    @property
    def spare(self) -> list[Author]:
        """Authors whose transactions a fault writes itself."""
        return self.authors[THREADS:]

    @property
    def errors(self) -> int:
        """How many transactions ended with an error."""
        return sum(writer.errors for writer in self._writers)

    def resume(self) -> None:
        """All go on."""
        for writer in self._writers:
            writer.resume()

    def pause(self) -> None:
        """Returns when each has ended its transaction and knows what became of it. Raises what one broke of."""
        for writer in self._writers:
            writer.pause()
        eventually(lambda: all(writer.parked.is_set() for writer in self._writers), timeout_s=PARK_S)
        for writer in self._writers:
            if writer.broken is not None:
                raise writer.broken

    def await_commits(self, count: int) -> None:
        """Returns after so many more commits."""
        goal = self.ledger.commits() + count

        def there() -> bool:
            broken = [writer.broken for writer in self._writers if writer.broken is not None]
            if broken:
                raise broken[0]
            return self.ledger.commits() >= goal

        eventually(there, timeout_s=PARK_S)

    def stop(self) -> None:
        """All end."""
        for writer in self._writers:
            writer.stop()
