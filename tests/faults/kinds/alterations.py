"""Tables that are altered, and locked, under writers and workers."""

from __future__ import annotations

import psycopg

from tests.faults.fault import Fault
from tests.faults.scene import Scene

STORM = (
    ("alter table notes rename body to corpus", "alter table notes rename corpus to body"),
    ("alter table notes rename to scraps", "alter table scraps rename to notes"),
    ("alter table notes add extra text default 'x'", "alter table notes drop extra"),
    ("alter table notes alter seen type bigint", "alter table notes alter seen type int"),
    ("alter table notes alter body type varchar", "alter table notes alter body type text"),
    ("create index notes_seen on notes (seen)", "drop index notes_seen"),
    ("alter table articles rename body to corpus", "alter table articles rename corpus to body"),
    ("alter table articles rename to papers", "alter table papers rename to articles"),
    ("alter table articles rename slug to snail", "alter table articles rename snail to slug"),
    ("alter table articles add extra text default 'x'", "alter table articles drop extra"),
    ("create index concurrently articles_seen on articles (seen)", "drop index concurrently articles_seen"),
    ("alter table article_chunks rename to snippets", "alter table snippets rename to article_chunks"),
    ("alter table cards rename title to headline", "alter table cards rename headline to title"),
    ("alter table cards rename embedding to vectors", "alter table cards rename vectors to embedding"),
    ("alter table cards rename to leaves", "alter table leaves rename to cards"),
    ("alter table cards add extra text", "alter table cards drop extra"),
)


class Storm(Fault):
    """Columns and tables that are renamed back and forth, columns that come and go, indexes, types."""

    name = "DDL storm"
    hits = (12, 60)
    weight = 2

    def strike(self, scene: Scene, hits: int) -> int:
        done = 0
        with scene.admin() as connection:
            connection.execute("set lock_timeout = '2s'")
            for _ in range(hits):
                there, back = scene.random.choice(STORM)
                if _altered(connection, there):
                    done += 1
                    scene.writers.await_commits(scene.random.randrange(3))
                    while not _altered(connection, back):
                        pass
        return done

    def heal(self, scene: Scene) -> None:
        """The look of the sweep, which is off: a change that no worker has met is followed by the next one."""
        with scene.admin() as connection:
            connection.execute(
                "select pgembedd_internal.diagnose(p.id) from pgembedd_internal.pipeline p where p.state = 'running'"
            )


class LockedTable(Fault):
    """LOCK TABLE on one table after another, held while the writers of others go on."""

    name = "LOCK TABLE held for a while"
    hits = (2, 6)

    def hit(self, scene: Scene, number: int) -> None:
        table = ("notes", "articles", "article_chunks", "cards")[number % 4]
        with psycopg.connect(scene.server.conninfo()) as connection:
            connection.execute(f"lock table {table} in access exclusive mode".encode())
            connection.execute("select pg_sleep(%s)", (scene.random.uniform(0.2, 2),))


def _altered(connection: psycopg.Connection, statement: str) -> bool:
    """Runs it; False when others did not let it in."""
    try:
        connection.execute(statement.encode())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return False
    return True
