"""Selects and executes the plans of an import."""

from __future__ import annotations

import psycopg

from pgembedd.contrib.plan import Plan, Refused, execute_plan
from tests.support.sql import column


def only(found: list[Plan | Refused]) -> Plan:
    """The only one, which is a plan."""
    (plan,) = found
    assert isinstance(plan, Plan), plan
    return plan


def carried_out(connection: psycopg.Connection, found: list[Plan | Refused]) -> list[str]:
    """Do the only one; what it says it did."""
    done = execute_plan(connection, only(found))
    assert isinstance(done, list), done
    return done


def why(found: list[Plan | Refused]) -> str:
    """The only one, which was refused, and why."""
    (refused,) = found
    assert isinstance(refused, Refused), refused
    return refused.why


def triggers(connection: psycopg.Connection) -> set[str]:
    """Returns all triggers that are not internal."""
    return set(column(connection, "select tgname from pg_trigger where not tgisinternal"))
