"""Kills while files become pages, and pages vectors."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.faults.fault import Fault, NoEffectError
from tests.faults.kinds.server import BackendCrash, Terminate
from tests.faults.kinds.workers import Kill
from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import Scene
from tests.faults.subjects import PAPERS
from tests.support.sql import LANES, rows


class KillAcrossChain(Fault):
    """Workers, parsers, workers' and writers' sessions, and sometimes the server, in any order."""

    name = "kills across a chain"
    stage = "files, their pages and vectors"
    hits = (100, 100)
    weight = 12

    def strike(self, scene: Scene, hits: int) -> int:
        self._held: set[Claim] = set()
        self._before = len(_notes(scene))
        return super().strike(scene, hits)

    def hit(self, scene: Scene, number: int) -> None:
        kills = (Kill().hit, _kill_parser, Terminate().hit, _crash)
        scene.random.choices(kills, (6, 6, 6, 1))[0](scene, scene.random.randrange(60))
        with scene.admin() as connection:
            self._held |= {tuple(map(str, claim)) for held in _HELD for claim in rows(connection, held)}

    def check(self, scene: Scene, oracle: Oracle, bound_s: float) -> Findings:
        """Files that were parsed again, although their claim was not in progress at a kill, nor sent back."""
        findings, notes = Findings(), _notes(scene)[self._before :]
        may_repeat = self._held | {claim for claim, what in notes if what in ("changed", "locked")}
        parsed: dict[Claim, Claim] = {}
        again = 0
        for claim in (claim for claim, what in notes if what == "parsed"):
            earlier = parsed.get(claim[:2])
            again += earlier is not None
            if (earlier and earlier not in may_repeat) or earlier == claim:
                findings.duplicated.append(f"{claim} parsed its file, and {earlier} had")
            parsed[claim[:2]] = claim
        print(f"    {len(parsed)} files parsed, {again} times one of them again", file=sys.stderr)
        self._force(scene, bound_s, findings)
        return findings

    def _force(self, scene: Scene, bound_s: float, findings: Findings) -> None:
        """Queues every file again: none is parsed, and no page and no vector is written."""
        with scene.admin() as connection:
            before = _parsed(scene), rows(connection, _VERSIONS)
            connection.execute(f"select pgembedd.backfill('{PAPERS.name}', force => true)".encode())
            if not scene.await_drained(bound_s):
                findings.stuck.append("files that were queued again")
            if before != (_parsed(scene), rows(connection, _VERSIONS)):
                findings.duplicated.append("files whose pages were there were parsed, or written, again")


Claim = tuple[str, ...]
"""Of a message: its queue, its number, and the count of its reads."""
_HELD = [
    f"select '{lane}', msg_id, read_ct from pgmq.q_{lane} where vt > clock_timestamp() and read_ct > 0 "
    f"and message ->> 'pipeline' = (select id::text from pgembedd_internal.pipeline where name = '{PAPERS.name}')"
    for lane in LANES
]
_VERSIONS = (
    "select 1, ctid, xmin::text from paper_pages union all select 2, ctid, xmin::text from page_chunks order by 1, 2"
)


def _crash(scene: Scene, number: int) -> None:
    """A crash of the server once all workers have started: one that starts meanwhile ends, with a sentence."""
    scene.start_workers()
    BackendCrash().hit(scene, number)


def _kill_parser(scene: Scene, number: int) -> None:
    """A process that parses files, in the midst of its work."""
    scene.await_held()
    time.sleep(scene.random.uniform(0, 0.15))  # anywhere in its work
    try:
        os.kill(scene.random.choice(_parsers(scene)), signal.SIGKILL)
    except (IndexError, ProcessLookupError) as error:
        raise NoEffectError from error


def _parsers(scene: Scene) -> list[int]:
    """The processes of the workers' that parse files."""
    workers, found = {each.process.pid for each in scene.workers}, []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) in workers and b"pgembedd.documents.child" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def _notes(scene: Scene) -> list[tuple[Claim, str]]:
    """Claims whose file came to a parser, as `parsed`, and the outcomes of their stores, in order."""
    lines = scene.parses.read_text().splitlines() if scene.parses.exists() else []
    return [(tuple(claim), what) for *claim, what in map(str.split, lines)]


def _parsed(scene: Scene) -> int:
    return sum(what == "parsed" for _, what in _notes(scene))
