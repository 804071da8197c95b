"""Pipelines that share a queue are dealt places evenly; a pipeline alone on its queue pays nothing for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgembedd.database.migrate import migrate
from pgembedd.database.queries import query
from pgembedd.doctor import examine
from tests.support.databases import Database
from tests.support.roles import Roles, connect_as
from tests.support.sql import (
    FRESH,
    LANES,
    Job,
    call,
    claim,
    connected,
    create_pipeline,
    make_documents,
    queued,
    release,
    rows,
    value,
)

TEND = "select pgembedd._tend_queues()"
PARTIES = {"big": 1, "small": 2, "third": 3}


def make_pipelines(connection: psycopg.Connection, *names: str) -> None:
    """Pipelines of one table, all on the default queue, and the index that goes with it."""
    make_documents(connection)
    for name in names:
        create_pipeline(connection, name=name, embedding_column=f"{name}_vector", backfill=False)
    connection.execute(TEND)


def send(connection: psycopg.Connection, pipeline: int | str | None, count: int, queue: str = FRESH) -> None:
    """So many jobs of a pipeline, as its trigger would queue them."""
    connection.execute(
        f"insert into pgmq.q_{queue} (vt, message) select clock_timestamp(), "
        "jsonb_strip_nulls(jsonb_build_object('id', i, 'pipeline', %s::text)) from generate_series(1, %s) i",
        (None if pipeline is None else str(pipeline), count),
    )


def taken(jobs: Sequence[Job]) -> Mapping[str, int]:
    """Counts the jobs of each pipeline."""
    return Counter(job.pipeline for job in jobs)


def sharing_index(connection: psycopg.Connection, queue: str = FRESH) -> str | None:
    found: str | None = value(connection, "select to_regclass(%s)::text", f"pgmq.q_{queue}_by_party")
    return found


@pytest.fixture
def shared(connection: psycopg.Connection) -> psycopg.Connection:
    """The pipelines big, small and third, without jobs."""
    make_pipelines(connection, *PARTIES)
    return connection


# -- The dealing -------------------------------------------------------------------------------------------


def test_a_small_pipeline_does_not_wait_behind_a_long_one(shared: psycopg.Connection) -> None:
    send(shared, 1, 500)
    send(shared, 2, 10)
    jobs = claim(shared, size=16)
    assert taken(jobs) == {"big": 8, "small": 8}
    assert [job.id for job in jobs] == [*range(1, 9), *range(1, 9)], "each in the order of its arrival"
    assert taken(claim(shared, size=16)) == {"big": 14, "small": 2}
    assert taken(claim(shared, size=16)) == {"big": 16}


def test_what_one_leaves_over_goes_to_the_others(shared: psycopg.Connection) -> None:
    for pipeline, count in ((1, 100), (2, 2), (3, 12)):
        send(shared, pipeline, count)
    assert taken(claim(shared, size=31)) == {"big": 17, "small": 2, "third": 12}
    assert taken(claim(shared, size=1000)) == {"big": 83}
    assert claim(shared) == []


def test_with_fewer_places_than_pipelines_everybodys_turn_comes(shared: psycopg.Connection) -> None:
    for pipeline in PARTIES.values():
        send(shared, pipeline, 60)
    jobs = [job for _ in range(60) for job in claim(shared, size=1)]
    # That one of three has no turn in 60 happens once in 10 billion times.
    assert sum(taken(jobs).values()) == 60
    assert set(taken(jobs)) == set(PARTIES)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    waiting=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    strangers=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
)
def test_nobody_starves_and_nothing_is_handed_out_twice(
    shared: psycopg.Connection, waiting: list[int], strangers: int, sizes: list[int]
) -> None:
    """Any backlogs, any claims: each is full while there is enough, and each pipeline gets its share or all it has."""
    shared.execute(f"truncate pgmq.q_{FRESH}")
    left = dict(zip(PARTIES, waiting, strict=True))
    for name, count in left.items():
        send(shared, PARTIES[name], count)
    send(shared, None, strangers)
    seen: set[int] = set()
    for size in sizes:
        parties = sum(count > 0 for count in left.values()) + (strangers > 0)
        jobs = claim(shared, size=size)
        assert not seen & {job.msg_id for job in jobs}
        seen |= {job.msg_id for job in jobs}
        before = sum(left.values()) + strangers
        strangers = len(queued(shared)) - sum(waiting)  # what a claim finds of them it buries
        got = taken(jobs)
        for name in left:
            if parties:
                assert got.get(name, 0) >= min(left[name], size // parties)
            left[name] -= got.get(name, 0)
        assert before - sum(left.values()) - strangers == min(size, before)


def test_claims_at_the_same_time_share_and_never_overlap(shared: psycopg.Connection, other: psycopg.Connection) -> None:
    send(shared, 1, 100)
    send(shared, 2, 20)
    with shared.transaction():
        first = claim(shared, size=20)
        second = claim(other, size=20)
    assert taken(first) == taken(second) == {"big": 10, "small": 10}
    assert not {job.msg_id for job in first} & {job.msg_id for job in second}
    with shared.transaction():
        rest = claim(shared, size=1000)
        assert claim(other, size=1000) == []
    assert taken(rest) == {"big": 80}


def test_a_claim_is_what_pgmq_makes_of_it(shared: psycopg.Connection) -> None:
    send(shared, 1, 2)
    before = value(shared, "select clock_timestamp()")
    (first, _) = claim(shared, lease_s=600)
    assert first.read_ct == 1
    assert (
        rows(
            shared,
            "select read_ct, vt between %s + interval '600 s' and clock_timestamp() + interval '600 s', "
            f"last_read_at >= %s from pgmq.q_{FRESH}",
            before,
            before,
        )
        == [(1, True, True)] * 2
    )
    assert release(shared, [first]) == 1
    shared.execute(f"update pgmq.q_{FRESH} set vt = clock_timestamp() where vt < 'infinity'")
    assert [job.read_ct for job in claim(shared)] == [2, 2]


# -- Who takes part ----------------------------------------------------------------------------------------


def test_jobs_of_a_paused_pipeline_take_no_places_and_stay_where_they_are(shared: psycopg.Connection) -> None:
    send(shared, 1, 50)
    send(shared, 2, 3)
    call(shared, "pause", name="big")
    assert taken(claim(shared, size=10)) == {"small": 3}
    assert claim(shared, size=10) == []
    assert value(shared, f"select count(*) from pgmq.q_{FRESH} where read_ct = 0") == 50
    call(shared, "resume", name="big")
    assert taken(claim(shared, size=10)) == {"big": 10}


def test_messages_of_other_triggers_are_parties_by_their_table(shared: psycopg.Connection) -> None:
    """The tables of strangers' messages do not stand before each other, nor before ours."""
    shared.execute("create table letters (id int primary key, body text)")
    create_pipeline(shared, name="letters", source="letters", content_columns=["body"])
    for table, column, count in (("documents", "big_vector", 100), ("letters", "embedding", 5)):
        shared.execute(
            f"insert into pgmq.q_{FRESH} (vt, message) select clock_timestamp(), jsonb_build_object('id', i, 'schema', "
            "'public', 'table', %s::text, 'embeddingColumn', %s::text) from generate_series(1, %s) i",
            (table, column, count),
        )
    send(shared, 2, 5)
    assert taken(claim(shared, size=15)) == {"big": 5, "letters": 5, "small": 5}


def test_whatever_lands_in_the_queue_the_claim_goes_on(shared: psycopg.Connection) -> None:
    odd = ["null", "[]", '"pipeline"', "{}", '{"pipeline": {}}', '{"pipeline": null, "table": 3}', '{"id": 1}']
    odd += [f'{{"id": 1, "pipeline": "{"x" * 10_000}"}}', '{"id": 1, "pipeline": "9999"}', '{"id": 1, "table": "\\"é"}']
    for message in odd:
        shared.execute(f"insert into pgmq.q_{FRESH} (vt, message) values (clock_timestamp(), %s)", (message,))
    shared.execute(f"insert into pgmq.q_{FRESH} (vt, message) values (clock_timestamp(), null)")
    send(shared, 1, 3)
    assert taken(claim(shared)) == {"big": 3}
    assert value(shared, "select count(*) from pgembedd.failures where reason = 'unknown_pipeline'") == len(odd) + 1


def test_many_pipelines_on_one_queue(connection: psycopg.Connection) -> None:
    make_pipelines(connection, *(f"p{number}" for number in range(50)))
    for pipeline in range(1, 51):
        send(connection, pipeline, 1000 if pipeline == 1 else 4)
    got = taken(claim(connection, size=100))
    assert got == {f"p{number}": 2 for number in range(50)}
    assert len(taken(claim(connection, size=10))) == 10


def test_a_worker_that_polls_inside_pgmq_is_dealt_to_as_well(shared: psycopg.Connection) -> None:
    send(shared, 1, 100)
    send(shared, 2, 5)
    values = {"queue": FRESH, "claim_size": 10, "lease_s": 60, "poll_s": 1}
    polled = shared.execute(query("claim"), values).fetchall()
    assert Counter(row[5] for row in polled) == {"big": 5, "small": 5}


# -- What it costs -----------------------------------------------------------------------------------------


def test_jobs_that_cannot_be_claimed_are_not_looked_at(shared: psycopg.Connection) -> None:
    """However many are under a lease or set aside, and whatever the planner knows of it: nothing."""
    for pipeline in (1, 2):
        send(shared, pipeline, 20_000)
    shared.execute(
        f"update pgmq.q_{FRESH} set vt = case when msg_id %% 2 = 0 then 'infinity' else now() + '1 h' end", ()
    )
    send(shared, 1, 5)
    shared.execute(f"vacuum pgmq.q_{FRESH}")
    shared.execute("select pg_stat_reset_single_table_counters(%s::regclass)", (f"pgmq.q_{FRESH}_by_party",))
    assert taken(claim(shared)) == {"big": 5}
    shared.execute("select pg_stat_force_next_flush()")
    counted = "select idx_tup_read from pg_stat_user_indexes where indexrelid = %s::regclass"
    assert value(shared, counted, f"pgmq.q_{FRESH}_by_party") < 100
    scans = "select seq_scan from pg_stat_user_tables where relid = %s::regclass"
    before = value(shared, scans, f"pgmq.q_{FRESH}")
    assert claim(shared) == []
    shared.execute("select pg_stat_force_next_flush()")
    assert value(shared, scans, f"pgmq.q_{FRESH}") == before


@pytest.mark.parametrize("names", [["big"], ["big", "small"]])
def test_a_claim_does_not_believe_that_the_queue_is_empty(
    connection: psycopg.Connection, other: psycopg.Connection, names: list[str]
) -> None:
    """An ANALYZE before the commit of a bulk load has seen none of its jobs."""
    make_pipelines(connection, *names)
    with connection.transaction():
        send(connection, 1, 5000)
        other.execute(f"analyze pgmq.q_{FRESH}")
    assert value(connection, "select reltuples from pg_class where oid = %s::regclass", f"pgmq.q_{FRESH}") == 0
    read = f"select sum(idx_tup_read) from pg_stat_user_indexes where relid = 'pgmq.q_{FRESH}'::regclass"
    connection.execute("select pg_stat_force_next_flush()")
    before = value(connection, read)
    assert len(claim(connection, size=50)) == 50
    connection.execute("select pg_stat_force_next_flush()")
    assert value(connection, read) - before < 1000


def test_the_index_is_there_while_several_pipelines_share_the_queue(connection: psycopg.Connection) -> None:
    make_pipelines(connection, "first")
    create_pipeline(connection, name="apart", embedding_column="apart_vector", queue="letters")
    connection.execute(TEND)
    queues = (*LANES, "letters", "letters_backfill")
    assert [sharing_index(connection, queue) for queue in queues] == [None] * 4
    create_pipeline(connection, name="second", embedding_column="second_vector")
    connection.execute("select pgembedd.tick(sweep_every_s => 3600)")  # due, since a pipeline came
    made = [sharing_index(connection, queue) for queue in queues]
    assert made == ["pgmq.q_pgembedd_jobs_by_party", "pgmq.q_pgembedd_backfill_by_party", None, None]
    call(connection, "drop_pipeline", name="first")
    connection.execute(TEND)
    assert [sharing_index(connection, queue) for queue in queues] == [None] * 4


def test_writers_do_not_wait_for_an_index_that_waits(connection: psycopg.Connection, other: psycopg.Connection) -> None:
    """The upkeep gives way to a transaction that wrote, and comes again."""
    make_pipelines(connection, "first")
    create_pipeline(connection, name="second", embedding_column="second_vector")
    with other.transaction():
        other.execute("insert into documents (id, title) values (1, 'a')")
        connection.execute(TEND)
        assert [sharing_index(connection, lane) is None for lane in LANES] == [True, False]
    connection.execute(TEND)
    assert sharing_index(connection) is not None


def test_a_queue_of_somebody_else_is_read_in_order_and_the_doctor_says_so(
    roles: Roles, empty_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As where an administrator made the queue: its owner alone may make the index."""
    role = roles.make("installer")
    with empty_database.connect() as admin:
        admin.execute("create extension vector")
        admin.execute(f"grant create on database {admin.info.dbname} to {role}")
    migrate(psycopg.conninfo.make_conninfo(empty_database.conninfo, user=role, password="for tests"))
    with connected(empty_database) as admin, connect_as(empty_database, role) as owner:
        admin.execute(f"grant create on schema public to {role}")
        admin.execute(f"alter table pgmq.q_{FRESH} owner to postgres")
        admin.execute(f"grant select, insert, update, delete on pgmq.q_{FRESH} to {role}")
        make_pipelines(owner, "big", "small")
        assert sharing_index(owner) is None
        send(owner, 1, 20)
        send(owner, 2, 5)
        assert taken(claim(owner, size=10)) == {"big": 10}
        cache = tmp_path_factory.mktemp("cache")
        (finding,) = [one for one in examine(owner, cache) if one.about == f'queue "{FRESH}"']
        assert finding.remedy.startswith(f"As the owner of pgmq.q_{FRESH}: create index concurrently ")
        admin.execute(finding.remedy.partition(": ")[2])
        assert taken(claim(owner, size=10)) == {"big": 5, "small": 5}
        assert f'queue "{FRESH}"' not in {one.about for one in examine(owner, cache)}


def test_a_partitioned_queue(connection: psycopg.Connection) -> None:
    """Made by hand as pgmq makes one; pg_partman, which pgmq needs for that, is not to be had here."""
    connection.execute(f"alter table pgmq.q_{FRESH} rename to as_it_was")
    connection.execute(f"""
        create table pgmq.q_{FRESH} (
            msg_id bigint generated by default as identity, read_ct int default 0 not null,
            enqueued_at timestamptz default now() not null, last_read_at timestamptz, vt timestamptz not null,
            message jsonb, headers jsonb) partition by range (msg_id);
        create table pgmq.low partition of pgmq.q_{FRESH} for values from (0) to (50);
        create table pgmq.high partition of pgmq.q_{FRESH} for values from (50) to (1000);
        create index on pgmq.q_{FRESH} (msg_id);""")
    make_pipelines(connection, "big", "small")
    assert sharing_index(connection) is not None
    send(connection, 1, 100)
    send(connection, 2, 10)
    assert taken(claim(connection, size=10)) == {"big": 5, "small": 5}
    assert taken(claim(connection, size=1000)) == {"big": 95, "small": 5}
    assert claim(connection) == []


def test_an_index_that_was_broken_off_is_made_again(connection: psycopg.Connection) -> None:
    make_pipelines(connection, "big", "small")
    connection.execute(
        "update pg_index set indisvalid = false where indexrelid = %s::regclass", (sharing_index(connection),)
    )
    send(connection, 1, 20)
    send(connection, 2, 5)
    assert taken(claim(connection, size=10)) == {"big": 10}, "it is not relied on"
    connection.execute(TEND)
    assert sharing_index(connection) is None
    connection.execute(TEND)
    assert taken(claim(connection, size=10)) == {"big": 5, "small": 5}
