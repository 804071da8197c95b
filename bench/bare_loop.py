"""The work of a fleet without pgembedd: `FOR UPDATE SKIP LOCKED` on a table of ids, in one process."""

import time

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from bench.null_worker import DIMS

BATCH = 256  # the largest claim of a worker
PAUSE_S = 0.01


def bare_loop(conninfo: str) -> None:
    """One process of the bare loop; it ends when it is terminated."""
    vector = HalfVector(np.full(DIMS, DIMS**-0.5, np.float32))
    with psycopg.connect(conninfo, autocommit=True) as connection:
        register_vector(connection)
        while True:
            with connection.transaction():
                taken = f"select id from bare_queue order by id limit {BATCH} for update skip locked"
                ids = [row[0] for row in connection.execute(taken.encode()).fetchall()]
                if ids:
                    connection.execute("select id, body from bare where id = any (%s)", [ids]).fetchall()
                    connection.cursor().executemany(
                        "update bare set embedding = %s where id = %s", [(vector, each) for each in ids]
                    )
                    connection.execute("delete from bare_queue where id = any (%s)", [ids])
            if not ids:
                time.sleep(PAUSE_S)
