"""Transactions that are prepared, outlive a crash of the server, and are committed or rolled back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.author import Author, Transaction
from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.faults.subjects import APPLICATION


class Prepared(Fault):
    """Two-phase commits around a crash. The workers wait by polling, since a prepared transaction takes no NOTIFY."""

    name = "PREPARE TRANSACTION, crash, commit"
    hits = (4, 10)

    def strike(self, scene: Scene, hits: int) -> int:
        scene.end_workers()
        with scene.admin() as connection:
            connection.execute("select pgembedd_internal.set_idle(false)")
        scene.start_workers("--wait", "poll")
        prepared = {author: self._prepare(scene, author) for author in scene.writers.spare[:hits]}
        scene.writers.await_commits(5)
        scene.server.kill()
        scene.server.start()
        scene.writers.await_commits(5)
        for number, (author, transaction) in enumerate(prepared.items()):
            outcome = "rollback" if number % 4 == 3 else "commit"
            with _application(scene) as connection:
                connection.execute(f"{outcome} prepared 'faults {author.number}'".encode())
            if outcome == "commit":
                author.enter(transaction)
        return hits

    def _prepare(self, scene: Scene, author: Author) -> Transaction:
        transaction = author.plan()
        number = author.ledger.count(author.number) + 1
        with _application(scene) as connection:
            connection.execute("begin")
            transaction.run(connection, author.number, number)
            connection.execute(f"prepare transaction 'faults {author.number}'".encode())
        return transaction

    def after(self, scene: Scene) -> None:
        scene.end_workers()
        scene.start_workers()


@contextmanager
def _application(scene: Scene) -> Iterator[psycopg.Connection]:
    with psycopg.connect(scene.conninfo(APPLICATION), autocommit=True) as connection:
        yield connection
