"""`--until-idle`: tells whether work is left, and ends a worker that has none."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pgembedd.errors import PgembeddError

if TYPE_CHECKING:
    from pgembedd.loop.worker import Worker

LOOK_EVERY_S = 1.0


def stops_when_idle(conninfo: str, pipelines: Sequence[str]) -> Callable[["Worker"], None]:
    """Returns what ends a worker: a signal, or that it is idle."""
    from pgembedd.loop.shutdown import stop_on_signals

    is_idle(conninfo, pipelines)  # raises what would keep it from being known

    def stops(worker: "Worker") -> None:
        stop_on_signals(worker.stop)
        stop_when_idle(worker, conninfo, pipelines)

    return stops


def stop_when_idle(worker: "Worker", conninfo: str, pipelines: Sequence[str]) -> None:
    """Has a worker end once no work is due or leased, or that cannot be known any more."""
    import psycopg

    untried: set[str] = set()

    def is_over() -> bool:
        with suppress(psycopg.Error, PgembeddError):  # which the last look of the command meets as well
            return is_idle(conninfo, pipelines, tell=True, untried=None if worker.has_tried() else untried)
        return True

    def watch() -> None:
        while not is_over():
            time.sleep(LOOK_EVERY_S)
        worker.stop()

    if is_over():  # before it loads a model
        worker.stop()
    else:
        threading.Thread(target=watch, name="idle", daemon=True).start()


def is_idle(conninfo: str, pipelines: Sequence[str], *, tell: bool = False, untried: set[str] | None = None) -> bool:
    """Tells that nothing is due or leased; not known while the database cannot be reached.

    Until this command has tried to serve its pipelines, it gives `untried`, to which those are added that are unserved:
    the note may be of a worker with other settings. Their jobs count while they are, or run, as they do once a worker
    takes the note back to try. `tell` logs the pipelines whose jobs are left all the same, with their state.
    """
    import psycopg

    from pgembedd.database.connect import connect
    from pgembedd.database.connection_errors import is_connection_error
    from pgembedd.database.queries import query
    from pgembedd.log import get_logger

    try:
        with connect(conninfo) as connection:
            asked = {"pipelines": list(pipelines)}
            row = connection.execute(query("demand"), asked).fetchone()
            if row is None or row[0] > 0:
                return False
            left = connection.execute(query("left"), asked).fetchall() if tell or untried is not None else []
            if untried is not None:
                untried |= {pipeline for pipeline, state, _ in left if state == "unserved"}
                if any(pipeline in untried and state in ("unserved", "running") for pipeline, state, _ in left):
                    return False
            for pipeline, state, queued in left:
                get_logger().warning("jobs_left", pipeline=pipeline, state=state, queued=queued)
            return True
    except (psycopg.Error, PgembeddError) as error:
        if not is_connection_error(error):
            raise
        return False
