"""The oracle finds what is wrong: each case breaks one thing in a transaction, looks, and rolls back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.ledger import Ledger, Place
from tests.faults.model import make_model, open_model
from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import Scene
from tests.faults.stages import one_server
from tests.faults.subjects import CARDS, CHAIN, NOTES, SUBJECTS, Row, Subject
from tests.faults.table import KINDS, Result, table

AFTER = "new body of a row"


@dataclass(frozen=True)
class Stage:
    """A scene at rest, and its oracle."""

    scene: Scene
    oracle: Oracle
    subjects: Sequence[Subject]

    def compare(self, *mutations: str, changes: dict[Place, Row] | None = None, drained: bool = True) -> Findings:
        """What is found after these statements, which no trigger sees; `changes` are what the ledger has besides."""
        with self.scene.admin() as connection, connection.transaction(force_rollback=True):
            connection.execute("set local session_replication_role = replica")
            for mutation in mutations:
                assert connection.execute(mutation.encode()).rowcount > 0, mutation
            return self.oracle.compare(
                connection, self.scene.expected() | (changes or {}), self.subjects, drained=drained
            )


@contextmanager
def at_rest(folder: Path, subjects: Sequence[Subject], commits: int) -> Iterator[Stage]:
    """So many commits, all embedded."""
    model = make_model(folder / "model")
    with open_model(model, folder / "cache") as session, one_server(model, 1, subjects) as scene:
        scene.start_workers()
        scene.writers.resume()
        scene.writers.await_commits(commits)
        scene.writers.pause()
        assert scene.await_drained(60)
        yield Stage(scene, Oracle(session), subjects)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with at_rest(tmp_path_factory.mktemp("faults"), SUBJECTS, 150) as stage:
        yield stage


def one_row(table: str, condition: str = "embedding is not null") -> str:
    """A condition that holds for one row."""
    return f"ctid = (select min(ctid) from {table} where {condition})"


QUEUED = "insert into pgmq.q_pgembedd_fresh (vt, message) values (now() + interval '1 h', '{\"pipeline\": 1}')"
MUTATIONS: dict[str, tuple[list[str], dict[str, int]]] = {
    "nothing": ([], {}),
    "a vector of another row": (
        [
            (
                f"update cards set embedding = (select embedding from cards order by id desc limit 1) "
                f"where {one_row('cards')}"
            )
        ],
        {"stale": 1},
    ),
    "a vector that is a little off": (
        [
            (
                "update notes set embedding = (embedding::vector + "
                "(select array_agg(0.005)::vector from generate_series(1, 32)))::halfvec "
                f"where {one_row('notes')}"
            )
        ],
        {"stale": 1},
    ),
    "a vector gone": ([f"update notes set embedding = null where {one_row('notes')}"], {"lost": 1}),
    "a chunk gone": ([f"delete from article_chunks where {one_row('article_chunks')}"], {"lost": 1}),
    "a chunk's text changed": (
        [f"update article_chunks set chunk = chunk || 'x' where {one_row('article_chunks')}"],
        {"stale": 1},
    ),
    "a chunk twice": (
        [
            (
                "create temp table copied on commit drop as "
                f"select * from article_chunks where {one_row('article_chunks')}"
            ),
            "update copied set chunk_index = 1000",
            "insert into article_chunks select * from copied",
        ],
        {"duplicated": 1},
    ),
    "chunks of a row that is gone": (
        [
            (
                "create temp table copied on commit drop as "
                f"select * from article_chunks where {one_row('article_chunks')}"
            ),
            "update copied set slug = 'gone'",
            "insert into article_chunks select * from copied",
        ],
        {"duplicated": 1},
    ),
    "a committed row gone": ([f"delete from notes where {one_row('notes')}"], {"lost": 1}),
    "a row that was not committed": (["insert into notes (id) values (-1)"], {"lost": 1}),
    "a message that is left": ([QUEUED], {"duplicated": 1}),
    "a pipeline that is stopped": (
        ["update pgembedd_internal.pipeline set state = 'stopped' where name = 'cards'"],
        {"failed": 1},
    ),
    "a dead letter of a row": (
        [
            (
                "insert into pgembedd_internal.dead_letter (pipeline_id, queue, key, message, reason, attempts, "
                "enqueued_at) "
                "select 1, 'pgembedd_fresh', to_jsonb(min(id)), '{}', 'content', 5, now() from notes"
            )
        ],
        {"failed": 1},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("mutations", "found"), MUTATIONS.values(), ids=MUTATIONS)
def test_what_is_wrong_is_found(stage: Stage, mutations: list[str], found: dict[str, int]) -> None:
    findings = stage.compare(*mutations)
    assert findings.counts() == dict.fromkeys(KINDS, 0) | found, findings


@pytest.mark.release
def test_what_is_wrong_with_pages_is_found(tmp_path: Path) -> None:
    one = one_row("paper_pages", "page = 2")
    with at_rest(tmp_path, CHAIN, 30) as stage:
        found = {
            mutation: {kind: count for kind, count in stage.compare(mutation).counts().items() if count}
            for mutation in (
                f"update paper_pages set text = 'another' where {one}",
                f"delete from paper_pages where {one}",
                f"update paper_pages set page = 9 where {one}",
                f"update page_chunks set chunk = 'another' where {one_row('page_chunks')}",
            )
        }
    assert list(found.values()) == [{"stale": 1}, {"lost": 1}, {"lost": 1, "duplicated": 1}, {"stale": 1}], found


@pytest.mark.slow
@pytest.mark.parametrize("subject", [NOTES, CARDS], ids=["notes", "cards"])
def test_a_dropped_message_of_a_changed_row_is_found(stage: Stage, subject: Subject) -> None:
    """The row has the vector of what it was before, and nothing in the queue tells of it."""
    place, row = next((p, r) for p, r in stage.scene.expected().items() if p[0] == subject.name and r.body)
    (key,) = subject.key(place[1])
    update = f"update {subject.name} set body = '{AFTER}' where id = '{key}'"
    findings = stage.compare(update, changes={place: Row(row.title, AFTER)})
    assert findings.counts() == dict.fromkeys(KINDS, 0) | {"stale": 1}, findings


@pytest.mark.slow
def test_a_dropped_message_of_a_new_row_is_found(stage: Stage) -> None:
    findings = stage.compare(
        f"insert into notes (id, body) values (5, '{AFTER}')", changes={("notes", 5): Row(None, AFTER)}
    )
    assert findings.counts() == dict.fromkeys(KINDS, 0) | {"lost": 1}, findings


@pytest.mark.slow
def test_a_queue_that_is_not_drained_is_stuck(stage: Stage) -> None:
    assert stage.compare(QUEUED, QUEUED, drained=False).counts()["stuck"] == 2


@pytest.mark.slow
def test_a_worker_that_ended_by_itself_is_found(stage: Stage) -> None:
    scene = stage.scene
    scene.workers[0].kill()
    try:
        findings = scene.compare(stage.oracle, is_drained=True)
        assert findings.counts() == dict.fromkeys(KINDS, 0) | {"failed": 1}, findings
    finally:
        scene.end_workers()
        scene.start_workers()


@pytest.mark.slow
def test_a_writer_finds_out_whether_its_transaction_was_committed(stage: Stage) -> None:
    """All its sessions are ended again and again, often between the commit and its answer."""
    scene, before = stage.scene, stage.scene.writers.errors
    scene.writers.resume()
    with scene.admin() as connection:
        while scene.writers.errors < before + 3:
            scene.writers.await_commits(3)
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'faults_app' and query not like 'begin%'"
            )
    scene.writers.pause()
    assert scene.await_drained(60)
    assert not stage.compare()


def test_the_ledger_knows_each_moment() -> None:
    ledger, place = Ledger(), ("notes", 1)
    ledger.commit(1, {place: Row(None, "first")})
    ledger.commit(1, {place: Row(None, "then")})
    ledger.commit(2, {("notes", 2): Row(None, "another")})
    ledger.commit(1, {place: None})
    assert ledger.rows() == {("notes", 2): Row(None, "another")}
    assert ledger.rows({1: 2}) == {place: Row(None, "then")}
    assert (ledger.count(1), ledger.commits()) == (3, 4)
    ledger.rewind(1, 1)
    assert ledger.rows() == {place: Row(None, "first"), ("notes", 2): Row(None, "another")}
    assert (ledger.count(1), ledger.commits(), ledger.lost) == (1, 2, 2)


def test_the_table_says_what_was_not_run() -> None:
    ran = Result("one", times=3, rounds=1, recovery_s=[1.0, 2.0, 9.0], findings=Findings(stale=["x"]))
    lines = table([ran, Result("two", not_run="there is no iproute2 here")]).splitlines()
    assert lines[2] == "| one | 3 | 1 | 0 | 1 | 0 | 0 | 0 | 2.0 | 9.0 |"
    assert lines[3].startswith("| two | not run: there is no iproute2 here |")
    assert len({line.count("|") for line in lines}) == 1
