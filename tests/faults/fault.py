"""A fault: what it needs, how it strikes, how it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar

import psycopg

from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import Scene
from tests.support.waiting import eventually

EFFECT_S = 20.0


class NoEffectError(Exception):
    """A fault was there, and neither a writer nor a worker met it in time: it is not counted."""


def await_effect(condition: Callable[[], object]) -> None:
    """Waits until a fault is felt. NoEffectError after a while."""
    try:
        eventually(condition, timeout_s=EFFECT_S)
    except AssertionError as error:
        raise NoEffectError from error


class Fault:
    """One kind of fault. An object lives as long as its stage, and keeps between `strike` and `after` what it needs."""

    name: ClassVar[str]
    """What the table says."""
    stage: ClassVar[str] = "one server"
    """Where it is played: a name of `stages.STAGES`."""
    hits: ClassVar[tuple[int, int]] = (1, 3)
    """How often it strikes in a round of the short and of the long form."""
    weight: ClassVar[int] = 1
    """Its part of the time, relative to the others."""

    def needs(self) -> str:
        """Why it cannot be had on this machine; empty where it can."""
        return ""

    def strike(self, scene: Scene, hits: int) -> int:
        """Strikes while writers and workers go on; how often it did, and took effect. If never, twice more."""
        done = 0
        for number in range(hits + 2):
            if number < hits or not done:
                with suppress(NoEffectError):
                    self.hit(scene, number)
                    done += 1
        return done

    def hit(self, scene: Scene, number: int) -> None:
        """Strikes once. NoEffectError where it hurt nothing."""
        raise NotImplementedError

    def heal(self, scene: Scene) -> None:
        """Ends what still lasts. Recovery is timed from here."""

    def check(self, scene: Scene, oracle: Oracle, bound_s: float) -> Findings:
        """What else is wrong, beyond the scene's own database."""
        return Findings()

    def measured(self) -> object:
        """What it measured in its last round, for a table of its own."""
        return None

    def after(self, scene: Scene) -> None:
        """Puts back what the next fault expects."""


def why_not(what: str, *commands: Sequence[str]) -> str:
    """Why root's commands cannot be had, which are tried; empty where they can."""
    if os.geteuid() != 0:
        return f"{what} needs root"
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        except OSError:
            return f"{what} needs the program {command[0]}"
        except subprocess.CalledProcessError as error:
            return f"{what} is not allowed here ({' '.join(error.stderr.split())})"
    return ""


def sessions(connection: psycopg.Connection, condition: str) -> list[int]:
    """The process ids of the backends that fulfil a condition on pg_stat_activity, besides this one."""
    found = connection.execute(
        f"select pid from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend' "
        f"and ({condition}) order by pid".encode()
    ).fetchall()
    return [int(row[0]) for row in found]
