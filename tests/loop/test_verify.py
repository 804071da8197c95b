"""`pgembedd verify` against a real database; the model is made up, three dimensions that tell texts apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import psycopg
import pytest

from pgembedd.errors import ConfigurationError, ModelMismatchError, RowFailure
from pgembedd.scheduler import Lane
from pgembedd.text.chunker import Chunk
from pgembedd.verify.report import FOREIGN_ROWS, Report
from pgembedd.verify.verifier import PAGE_ROWS, Options, by_model, pipelines_to_verify, verify
from tests.support.databases import Database
from tests.support.prepared import prepared, prepared_for
from tests.support.roles import Roles, conninfo_as
from tests.support.sql import create_pipeline, work

ALL = Options(sample=None, seed=1, requeue=False)
TOLERANCE = 1e-5
LIVE = "set session_replication_role = origin"
UNSEEN = "set session_replication_role = replica"  # what is changed under it, no trigger sees


def unit(text: str) -> list[float]:
    """A direction for each text, of norm 1."""
    numbers = np.frombuffer(hashlib.sha256(text.encode()).digest()[:12], np.uint32).astype(np.float64) - 2**31
    return list((numbers / np.linalg.norm(numbers)).tolist())


@dataclass(frozen=True)
class MadeUp:
    """An embedder that makes vectors up, and cuts at empty lines; not a model. `hook` sees the texts first."""

    name: str = "gte-small"
    dims: int = 3
    fingerprint: str = "made-up@1"
    max_tokens: int = 512
    hook: Callable[[Sequence[Any]], None] = len  # type: ignore[assignment]

    def start(
        self,
        texts: Sequence[str | tuple[int, ...]],
        *,
        kind: Literal["document", "query"] = "document",
        lane: Lane | None = None,  # noqa: ARG002
    ) -> Any:
        assert kind == "document"
        self.hook(texts)
        return Vectors(np.array([unit(str(text)) for text in texts], np.float32))

    def split(self, text: str, *, before: str = "", **_rules: Any) -> list[Chunk]:
        if "no room" in before:
            raise RowFailure("chunking", "no room")
        return [Chunk(found.start(), found.end(), found[0]) for found in re.finditer(r"\S(?:.|\n(?!\n))*", text)]

    def run(self, text_or_texts: Sequence[str], mean_pool: bool, normalize: bool, *, kind: str = "") -> Any:
        raise NotImplementedError

    def close(self) -> None: ...


@dataclass(frozen=True)
class Vectors:
    """Texts that are through already."""

    vectors: np.ndarray[Any, np.dtype[np.float32]]

    def result(self) -> Vectors:
        return self


@prepared_for("halfvec", "vector")
def documents(connection: psycopg.Connection, vector_type: str) -> None:
    """Twenty rows with their vectors, and a blank one."""
    fill(connection, vector_type=vector_type)


@prepared
def chunked(connection: psycopg.Connection) -> None:
    """The same with two chunks a row, in the table `chunks`."""
    fill(connection, embedding_table="chunks", formatting="$title: $chunk")


def fill(connection: psycopg.Connection, **options: Any) -> None:
    connection.execute("create table documents (id int primary key, title text, content text)")
    connection.execute(
        "insert into documents select i, 'title ' || i, 'content ' || i || E'\\n\\nmore ' || i"
        " from generate_series(1, 20) i union all select 21, ' ', null"
    )
    create_pipeline(connection, content_columns=["content"], **options)
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'made-up@1'")
    embed(connection)


def embed(connection: psycopg.Connection) -> None:
    """Work what is queued, as the model that verify is given."""
    work(connection, embed=unit)


def found(connection: psycopg.Connection, options: Options = ALL, embedder: MadeUp | None = None) -> Report:
    (target,) = pipelines_to_verify(connection, [])
    return verify(connection, target, by_model(target, embedder or MadeUp(), TOLERANCE), options)


def kinds(report: Report) -> dict[str, int]:
    return {kind: count for kind, count in report.counts.items() if count}


def unseen(connection: psycopg.Connection, statement: str) -> None:
    """Change something that no trigger sees."""
    connection.execute(UNSEEN)
    connection.execute(statement.encode())
    connection.execute(LIVE)


def healed(connection: psycopg.Connection) -> Report:
    """After a requeue, and after a worker's work."""
    queued_ones = found(connection, replace(ALL, requeue=True))
    assert queued_ones.requeued == queued_ones.wrong > 0
    assert found(connection).wrong == 0, "what is queued is in flight"
    assert found(connection, replace(ALL, requeue=True)).requeued == 0
    embed(connection)
    return found(connection)


def test_a_correct_table_passes(documents: psycopg.Connection) -> None:
    report = found(documents)
    assert kinds(report) == {"right": 20, "blank": 1}
    assert (report.rows_checked, report.wrong, report.note) == (21, 0, None)
    some = found(documents, replace(ALL, sample=5))
    assert (some.rows_checked, some.wrong) == (5, 0)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("update documents set content = 'new' where id = 7", "stale"),
        ("update documents set embedding = (select embedding from documents where id = 8) where id = 7", "stale"),
        ("update documents set content = ' ' where id = 7", "stale"),
        ("update documents set embedding = '[0.6,0.8,0]' where id = 7", "stale"),
        ("update documents set embedding = (embedding::vector + embedding::vector)::halfvec where id = 7", "corrupted"),
        ("update documents set embedding = '[0,0,0]' where id = 7", "corrupted"),
        ("update documents set embedding = null where id = 7", "missing"),
        ("insert into documents (id, content) values (7000, 'new')", "missing"),
        ("update documents set content = 'new' where id = 21", "missing"),
    ],
)
def test_what_no_trigger_saw_is_found_and_heals(documents: psycopg.Connection, statement: str, kind: str) -> None:
    unseen(documents, statement)
    report = found(documents)
    assert (report.counts[kind], report.wrong) == (1, 1)
    assert report.examples[kind] == ["7000" if "7000" in statement else "21" if "21" in statement else "7"]
    assert healed(documents).wrong == 0


def test_a_swap_of_contents_is_stale_even_where_it_is_everywhere(documents: psycopg.Connection) -> None:
    unseen(documents, "update documents d set content = o.content from documents o where o.id = 21 - d.id")
    report = found(documents)
    assert (report.counts["stale"], report.counts["foreign"], report.note) == (20, 0, None)


def test_vectors_of_another_model(documents: psycopg.Connection) -> None:
    unseen(documents, "update documents set embedding = '[0.6,0.8,0]' where id <= 20")
    report = found(documents)
    assert kinds(report) == {"foreign": 20, "blank": 1}
    assert report.note == "Most vectors disagree with their rows: probably another model's."
    documents.execute("delete from documents where id between %s and 20", [FOREIGN_ROWS])
    assert found(documents).counts["stale"] == FOREIGN_ROWS - 1, "too few to say so"
    assert healed(documents).wrong == 0


def test_a_precision_that_is_another_is_named(connection: psycopg.Connection) -> None:
    fill(connection, vector_type="vector")
    unseen(
        connection,
        "update documents set embedding = l2_normalize(embedding + '[0.03,0.03,0.03]'::vector) where id <= 20",
    )
    assert "at another precision" in str(found(connection).note)


def test_queued_changed_and_dead_rows_are_not_called_wrong(documents: psycopg.Connection) -> None:
    unseen(documents, "update documents set content = 'new' where id in (3, 4)")
    documents.execute("select pgembedd.requeue('documents', '{3}')")
    documents.execute(
        "insert into pgembedd_internal.row_state (pipeline_id, key, state) select id, '4', 'dead' "
        "from pgembedd_internal.pipeline"
    )
    unseen(documents, "update documents set content = 'other' where id = 5")
    busy = MadeUp(hook=lambda _: unseen(documents, "update documents set content = content || '!' where id = 5"))
    assert kinds(found(documents, embedder=busy)) == {"right": 17, "blank": 1, "in_flight": 2, "dead": 1}


def test_no_transaction_is_open_while_the_model_runs(documents: psycopg.Connection) -> None:
    states: list[psycopg.pq.TransactionStatus] = []
    found(documents, embedder=MadeUp(hook=lambda _: states.append(documents.info.transaction_status)))
    assert set(states) == {psycopg.pq.TransactionStatus.IDLE}


def test_rows_that_cannot_be_read_or_embedded_do_not_hide_others(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text)")
    connection.execute(
        "create function content_of(documents) returns text language plpgsql as $$ begin"
        " if $1.content = 'bad' then raise exception 'no'; end if; return $1.content; end $$"
    )
    connection.execute("insert into documents select i, '', 'content ' || i from generate_series(1, 20) i")
    create_pipeline(connection, content_function="content_of")
    embed(connection)
    unseen(connection, "update documents set content = case id when 3 then 'bad' else 'poison' end where id in (3, 4)")

    def refuse(texts: Sequence[str]) -> None:
        if "poison" in texts:
            raise ValueError("poison")

    report = found(connection, embedder=MadeUp(hook=refuse))
    assert kinds(report) == {"right": 18, "unreadable": 2}
    connection.execute("update documents set title = 'new' where id = 3")
    assert kinds(found(connection, embedder=MadeUp(hook=refuse))) == {"right": 18, "unreadable": 1, "in_flight": 1}


@pytest.mark.slow
def test_all_goes_through_all_pages_of_a_partitioned_table_with_a_composite_key(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (a text, b int, content text, primary key (a, b)) partition by hash (a)")
    for part in range(2):
        connection.execute(
            f"create table part_{part} partition of documents for values with (modulus 2, remainder {part})"
        )
    count = 2 * PAGE_ROWS + 10
    connection.execute(f"insert into documents select i % 3, i, 'content ' || i from generate_series(1, {count}) i")
    create_pipeline(connection, content_columns=["content"])
    embed(connection)
    unseen(connection, "update documents set content = 'new' where b = 5")
    pages: list[int] = []
    (target,) = pipelines_to_verify(connection, [])
    report = verify(
        connection, target, by_model(target, MadeUp(), TOLERANCE), ALL, lambda now: pages.append(now.rows_checked)
    )
    assert (report.counts["right"], report.examples["stale"]) == (count - 1, ['{"a": "2", "b": 5}'])
    assert pages == [PAGE_ROWS, 2 * PAGE_ROWS, count]
    assert healed(connection).wrong == 0


def test_what_stands_in_the_way_is_a_sentence(documents: psycopg.Connection) -> None:
    with pytest.raises(ModelMismatchError, match="--precision"):
        found(documents, embedder=MadeUp(fingerprint="made-up@2"))
    with pytest.raises(ModelMismatchError, match="4 dimensions"):
        found(documents, embedder=MadeUp(dims=4))
    with pytest.raises(ConfigurationError, match='no pipeline "nope"; there are: documents'):
        pipelines_to_verify(documents, ["nope"])
    documents.execute("alter table documents rename content to body")
    with pytest.raises(ConfigurationError, match=r"cannot be verified: .* has no column"):
        found(documents)


def test_whoever_may_act_for_both_owners_may_verify(
    roles: Roles, database: Database, connection: psycopg.Connection
) -> None:
    owner, verifier = roles.make("owner"), roles.make("verifier")
    fill(connection)
    connection.execute(f"alter table documents owner to {owner}")
    connection.execute("alter table documents enable row level security")
    connection.execute("select pgembedd.resume('documents')")
    connection.execute(f"""
        grant usage on schema pgembedd, pgembedd_internal, pgmq to {verifier};
        grant execute on all functions in schema pgembedd, pgembedd_internal to {verifier};
        grant select, insert on all tables in schema pgembedd, pgembedd_internal, pgmq to {verifier};
        grant usage, select on all sequences in schema pgembedd, pgembedd_internal, pgmq to {verifier}""")
    with psycopg.connect(conninfo_as(database, verifier), autocommit=True) as opened:
        with pytest.raises(ConfigurationError, match=f"documents belongs to {owner}, and {verifier} may not act"):
            found(opened)
        connection.execute(f"grant {owner} to {verifier}")
        assert kinds(found(opened)) == {"right": 20, "blank": 1}
        unseen(connection, "update documents set embedding = null where id = 7")
        assert found(opened, replace(ALL, requeue=True)).requeued == 1


# -- An embedding table ------------------------------------------------------------------------------------


def test_a_correct_embedding_table_passes(chunked: psycopg.Connection) -> None:
    assert chunked.execute("select count(*) from chunks").fetchone() == (40,)
    assert kinds(found(chunked)) == {"right": 20, "blank": 1}
    assert kinds(found(chunked, replace(ALL, sample=100))) == {"right": 20, "blank": 1}


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("update documents set content = E'content 7\\n\\nnew' where id = 7", "stale"),
        ("update documents set title = 'in the formatting' where id = 7", "stale"),
        ("update documents set content = ' ' where id = 7", "stale"),
        ("delete from chunks where id = 7 and chunk_index = 1", "stale"),
        ("update chunks set model = 'other@1' where id = 7 and chunk_index = 1", "foreign"),
        ("update chunks set embedding = '[0.6,0.8,0]' where id = 7 and chunk_index = 1", "corrupted"),
        ("update chunks set embedding = '[0,0,0]' where id = 7 and chunk_index = 1", "corrupted"),
        ("delete from chunks where id = 7", "missing"),
        ("update documents set title = 'no room' where id = 7", "unreadable"),
        ("delete from documents where id = 7", "orphaned"),
    ],
)
@pytest.mark.parametrize("sample", [None, 100])
def test_what_is_wrong_with_chunks_is_found_and_heals(
    chunked: psycopg.Connection, statement: str, kind: str, sample: int | None
) -> None:
    unseen(chunked, statement)
    report = found(chunked, replace(ALL, sample=sample))
    assert (report.counts[kind], report.wrong, report.examples[kind]) == (1, 1, ["7"])
    if kind != "unreadable":
        assert healed(chunked).wrong == 0
