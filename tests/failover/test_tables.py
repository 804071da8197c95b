"""The tables that `make test-failover` prints."""

from __future__ import annotations

from tests.failover.__main__ import by_kind, by_way
from tests.failover.kinds import FAULTS, Failover
from tests.failover.scene import STAGES, WAYS
from tests.faults.oracle import Findings
from tests.faults.table import Result

RESULT = Result(
    "switchover",
    times=2,
    findings=Findings(stale=["x"]),
    measured=[Failover("HAProxy", 2.0, 3.0, 5), Failover("several hosts", 4.0, 2.0, 0), None],
)


def test_each_failover_is_played_in_each_mode() -> None:
    assert {(kind.name, kind.stage) for kind in FAULTS} == {(kind.name, mode) for kind in FAULTS for mode in STAGES}
    assert len(FAULTS) == 10


def test_a_row_of_each_failover() -> None:
    (switchover,) = [kind for kind in FAULTS if (kind.name, kind.stage) == ("switchover", "asynchronous")]
    row = by_kind([switchover], [RESULT]).splitlines()[-1]
    assert row == "| switchover | asynchronous | 2 | 5 | 0 | 1 | 0 | 0 | 0 | 3.0 | 4.0 | 2.5 | 3.0 |"


def test_a_row_of_each_way() -> None:
    assert by_way([RESULT]).splitlines()[2:] == [
        "| HAProxy | 1 | 1.0 | 1.0 |",
        "| PgBouncer | 0 |  |  |",
        "| several hosts | 1 | -2.0 | -2.0 |",
    ]
    assert WAYS.count("PgBouncer") == len(WAYS) / 2
