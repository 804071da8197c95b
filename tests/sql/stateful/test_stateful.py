"""Whatever writers, workers and operators do, in whatever order: at rest every row has the vectors of its content."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.sql.stateful.machine import Machine
from tests.support.databases import Database

DESTINATIONS = pytest.mark.parametrize("destination", ["column", "table"])
QUICK = settings(
    derandomize=True, max_examples=6, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(
    derandomize=False,
    database=None,
    max_examples=25,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def machine_in(database: Database, destination: str) -> type[Machine]:
    """Returns the machine that hypothesis instantiates for each example; it cleans up afterwards."""

    class Placed(Machine):
        def __init__(self) -> None:
            super().__init__(database, chunked=destination == "table")

    return Placed


@DESTINATIONS
def test_any_order_of_events(database: Database, destination: str) -> None:
    run_state_machine_as_test(machine_in(database, destination), settings=QUICK)


@pytest.mark.slow
@DESTINATIONS
def test_many_orders_of_events(database: Database, destination: str) -> None:
    # The same orders every time, so that a failure means a change; another number gives others.
    number = int(os.environ.get("PGEMBEDD_TEST_SEED", "7"))
    run_state_machine_as_test(seed(number)(machine_in(database, destination)), settings=LONG)
