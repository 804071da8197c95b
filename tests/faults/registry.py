"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.kinds import (
    alterations,
    chain,
    connections,
    disk,
    dump,
    failover,
    garbage,
    network,
    pooler,
    prepared,
    server,
    workers,
)

FAULTS: tuple[type[Fault], ...] = (
    workers.Kill,
    workers.KillAll,
    workers.StopPastLease,
    server.Crash,
    server.BackendCrash,
    server.Restart,
    server.Terminate,
    connections.MaxConnections,
    connections.RoleLimit,
    alterations.Storm,
    alterations.LockedTable,
    garbage.Garbage,
    network.Blackhole,
    chain.KillAcrossChain,
    prepared.Prepared,
    dump.DumpAndRestore,
    failover.Failover,
    disk.Full,
    pooler.KillPooler,
    pooler.ExhaustPool,
    pooler.KillPoolerOfTransactions,
    pooler.ExhaustPoolOfTransactions,
    pooler.CrashBehindPooler,
)
