"""A network that goes silent, without closing a connection, keeps no worker from ending; tests/faults has the rest."""

from __future__ import annotations

import os
import shutil
import signal

import psycopg
import pytest

from pgembedd.database.connect import connect
from tests.support.databases import Database
from tests.support.documents import backends, insert, make_documents, waiting
from tests.support.silent_network import silent_network
from tests.support.waiting import eventually
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="a network namespace needs root and iproute2"
)

SOON = {"keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "2", "tcp_user_timeout": "2000"}
CLAIMED = "application_name = 'pgembedd work' and query like '%pgembedd_internal.claim(%'"
NEVER = {"keepalives": "0", "tcp_user_timeout": "3600000", "connect_timeout": "3600"}


def test_a_connection_has_its_limits_unless_told_otherwise(database: Database) -> None:
    with connect(database.conninfo) as connection:
        found = connection.info.get_parameters()
    assert {name: found[name] for name in SOON} == {
        "keepalives_idle": "15",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    with connect(psycopg.conninfo.make_conninfo(database.conninfo, **SOON)) as connection:
        assert SOON.items() <= connection.info.get_parameters().items()


@pytest.mark.slow
def test_a_silent_network_keeps_no_worker_from_ending(database: Database, connection: psycopg.Connection) -> None:
    """With jobs in the model and nothing that ends the wait for the database: within the grace period all the same."""
    make_documents(connection)
    insert(connection, [1])
    settings = {"MODEL_FAULT": "slow:600", "PGEMBEDD_GRACE_S": "1"}
    with silent_network(database, **NEVER) as network:
        with WorkerProcess(
            network.conninfo, namespace=network.namespace, module="tests.support.faulty_model_worker", **settings
        ) as worker:
            eventually(lambda: [job.unrecorded for job in waiting(connection)] == [1])
            # The worker has the answer to its claim, as it has gone on to another statement.
            eventually(lambda: backends(connection, CLAIMED) == 0)
            network.cut()
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
        assert worker.named("not_handed_back")
