"""`import supabase`: pipelines in the place of the guide's triggers, vectors kept; and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgembedd.contrib import plan as contrib_plan
from pgembedd.contrib.model_names import OPENAIS
from pgembedd.contrib.plan import Plan, Refused, as_script, execute_plan
from pgembedd.contrib.supabase import find_plans, find_undo_plans, options_of
from pgembedd.errors import ConfigurationError
from tests.sql.imports.imports import carried_out, only, triggers, why
from tests.support.guide import (
    INSERT,
    embed,
    follow_guide,
    guide_table,
    posted,
    trigger_definitions,
    waiting_messages,
)
from tests.support.prepared import prepared
from tests.support.sql import call, claim, column, let_leases_run_out, queued, rows, value, work
from tests.support.waiting import PATIENCE_S, eventually

BACKFILL = "pgembedd_backfill"


def plans(connection: psycopg.Connection, made_by: str = "gte-small", model: str | None = None) -> list[Plan | Refused]:
    """Returns the plans of the import."""
    return list(find_plans(connection, options_of(made_by, model)))


def undo(connection: psycopg.Connection) -> list[str]:
    """Undoes the only import; what it reports."""
    return carried_out(connection, list(find_undo_plans(connection)))


def refused_undo(connection: psycopg.Connection) -> str:
    """The reason why the only import cannot be undone."""
    (plan,) = find_undo_plans(connection)
    outcome = execute_plan(connection, plan)
    assert isinstance(outcome, Refused)
    return outcome.why


@prepared
def guide(connection: psycopg.Connection) -> None:
    """Row 1 has a vector, row 2 has a job, row 3 has neither."""
    follow_guide(connection)
    guide_table(connection, clear=True)
    connection.cursor().executemany(INSERT, [(1,), (2,), (3,)])
    connection.execute("update documents set embedding = %s where id = 1", [str(embed("by the guide"))])
    connection.execute("delete from pgmq.q_embedding_jobs where message ->> 'id' <> '2'")


def test_the_pipeline_takes_the_place_of_the_triggers(guide: psycopg.Connection) -> None:
    before = value(guide, "select embedding::text from documents where id = 1")
    definitions = trigger_definitions(guide)
    done = carried_out(guide, plans(guide))
    assert done == [
        *(f"dropped: {definitions[name]};" for name in ("documents_on_insert", "documents_on_update")),
        f"dropped: {definitions['documents_on_clear']};",
        'made the pipeline "documents.embedding"',
        "waiting jobs taken along: 1",
        "other rows queued, which have no vector: 1",
    ]
    assert triggers(guide) == {"pgembedd_1_insert", "pgembedd_1_update", "pgembedd_1_clear"}
    ((content, watched, on_update),) = rows(
        guide, "select content_function, watch_columns, on_update from pgembedd_internal.pipeline"
    )
    assert (content, sorted(watched), on_update) == ("public.embedding_input", ["content", "title"], "clear")
    assert (queued(guide), queued(guide, BACKFILL), waiting_messages(guide)) == ([2], [3], [])
    assert work(guide, embed=embed) == {2: "written", 3: "written"}
    assert value(guide, "select embedding::text from documents where id = 1") == before
    guide.execute("update documents set other = 1")
    assert queued(guide) == []
    guide.execute("update documents set title = 'new' where id = 1")
    assert value(guide, "select embedding is null from documents where id = 1")
    assert work(guide, embed=embed) == {1: "written"}


def test_jobs_keep_their_age_and_lease(guide: psycopg.Connection) -> None:
    """The Edge Function of the lease may still be writing."""
    guide.execute("update pgmq.q_embedding_jobs set enqueued_at = '2020-01-01'")
    (job,) = posted(guide)
    (before,) = waiting_messages(guide)
    carried_out(guide, plans(guide))
    ((enqueued_at, vt),) = rows(guide, "select enqueued_at, vt from pgmq.q_pgembedd_fresh")
    assert (enqueued_at, vt) == (before["enqueued_at"], before["vt"])
    assert [each.id for each in claim(guide)] == []
    let_leases_run_out(guide)
    assert [each.id for each in claim(guide)] == [job["id"]]


def test_a_job_that_is_posted_does_not_carry_the_guides_message(guide: psycopg.Connection) -> None:
    carried_out(guide, plans(guide))
    found = column(guide, "select pgembedd_internal._claim_for_push(10, 60)")
    assert sorted((job["id"], *sorted(job)) for job in found) == [
        (2, "id", "jobId", "pipeline", "queue", "readCt"),
        (3, "id", "jobId", "pipeline", "queue", "readCt"),
    ]


def test_a_dry_run_is_a_script_that_does_the_same(guide: psycopg.Connection) -> None:
    script = "\n".join(as_script(guide, only(plans(guide))))
    assert 'drop trigger "documents_on_insert" on "public"."documents";' in script
    assert "pgembedd_1_insert" not in triggers(guide)
    guide.execute(script.encode())
    assert triggers(guide) == {"pgembedd_1_insert", "pgembedd_1_update", "pgembedd_1_clear"}
    script = "\n".join(as_script(guide, only(list(find_undo_plans(guide)))))
    assert "pgembedd_1_insert" in triggers(guide)
    guide.execute(script.encode())
    assert triggers(guide) == {"documents_on_insert", "documents_on_update", "documents_on_clear"}


def test_an_import_that_is_undone_at_once_leaves_no_trace(guide: psycopg.Connection) -> None:
    """Triggers with their enabled state, messages with their numbers, reads, leases and ages."""
    guide.execute("alter table documents disable trigger documents_on_clear")
    guide.execute("alter table documents enable always trigger documents_on_insert")
    guide.execute("delete from documents where id = 3")
    posted(guide)
    before = (trigger_definitions(guide), waiting_messages(guide), rows(guide, "table documents"))
    carried_out(guide, plans(guide))
    assert undo(guide) == ["waiting jobs put into embedding_jobs: 1"]
    assert (trigger_definitions(guide), waiting_messages(guide), rows(guide, "table documents")) == before
    assert value(guide, "select tgenabled from pg_trigger where tgname = 'documents_on_clear'") == "D"
    assert value(guide, "select tgenabled from pg_trigger where tgname = 'documents_on_insert'") == "A"
    assert column(guide, "select name from pgembedd_internal.pipeline") == []
    assert list(find_undo_plans(guide)) == []


def test_an_import_leaves_a_table_alone_that_is_in_use(
    guide: psycopg.Connection, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrib_plan, "LOCK_TIMEOUT", "100ms")
    with other.transaction(force_rollback=True):
        other.execute("update documents set content = 'later' where id = 1")
        refused = execute_plan(guide, only(plans(guide)))
    assert isinstance(refused, Refused)
    assert refused.why.startswith("other transactions use its table")
    assert column(guide, "select name from pgembedd_internal.pipeline") == []


def test_no_change_goes_past_both_triggers(
    guide: psycopg.Connection, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that began before the import commits its job first; one that comes meanwhile waits."""
    monkeypatch.setattr(contrib_plan, "LOCK_TIMEOUT", f"{PATIENCE_S}s")
    guide.execute("delete from pgmq.q_embedding_jobs")
    plan = only(plans(guide))
    blocked = "select cardinality(pg_blocking_pids(%s))"
    with ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("insert into documents (id, title, content) values (4, 'four', 'text')")
            outcome = pool.submit(execute_plan, guide, plan)
            eventually(lambda: value(other, blocked, guide.info.backend_pid) == 1)
            other.execute("update documents set content = 'later' where id = 1")
        assert isinstance(outcome.result(), list)
    assert queued(guide) == [4, 1]
    other.execute("update documents set content = 'later still' where id = 2")
    assert queued(guide) == [4, 1, 2]


def test_what_was_done_is_done_and_what_came_since_is_the_guides(guide: psycopg.Connection) -> None:
    carried_out(guide, plans(guide))
    assert work(guide, embed=embed) == {2: "written", 3: "written"}
    guide.execute("insert into documents (id, title, content) values (4, 'four', 'text'), (5, 'five', 'text')")
    guide.execute("update pgmq.q_pgembedd_fresh set enqueued_at = '2020-01-01' where message ->> 'id' = '4'")
    (job, other) = claim(guide)
    call(guide, "pause", pipeline="documents.embedding")
    guide.execute(
        "select pgembedd_internal._dead_letter('pgembedd_fresh', %s, 1, 'content', 'told', 5)", [other.msg_id]
    )
    guide.execute("insert into documents (id, title, content) values (6, 'six', 'text')")
    vectors = rows(guide, "select id, embedding::text from documents order by id")
    assert undo(guide) == ["waiting jobs put into embedding_jobs: 3"]
    assert rows(guide, "select id, embedding::text from documents order by id") == vectors
    found = {each["message"]["id"]: each for each in waiting_messages(guide)}
    assert sorted(found) == [4, 5, 6]
    assert found[4]["message"] == {
        "id": 4, "schema": "public", "table": "documents", "contentFunction": "embedding_input",
        "embeddingColumn": "embedding",
    }  # fmt: skip
    assert (found[4]["enqueued_at"].year, found[4]["read_ct"]) == (2020, 0)
    assert value(guide, "select count(*) from pgembedd.dead_letters") == 0
    assert [each["id"] for each in posted(guide)] == [4, 6, 5], "and they are due"
    assert job.id == 4


def test_a_pipeline_that_is_dropped_returns_the_jobs(guide: psycopg.Connection) -> None:
    before = waiting_messages(guide)
    definitions = trigger_definitions(guide)
    carried_out(guide, plans(guide))
    call(guide, "drop_pipeline", pipeline="documents.embedding")
    assert [each for each in waiting_messages(guide) if each["message"]["id"] == 2] == before
    assert undo(guide) == ["waiting jobs put into embedding_jobs: 0"]
    assert trigger_definitions(guide) == definitions


ELSEWHERE = {"id": 3, "schema": "pg_catalog", "table": "pg_authid", "embeddingColumn": "x", "contentFunction": "evil"}
HERE = {"id": 3, "schema": "public", "table": "documents", "embeddingColumn": "embedding", "contentFunction": "evil"}
KEPT: dict[str, object] = {"msg_id": 1, "read_ct": 0, "vt": "now", "enqueued_at": "now", "message": HERE}


@pytest.mark.parametrize(
    "kept",
    [
        5,
        [],
        None,
        HERE,
        KEPT,
        {**KEPT, "vt": "x"},
        {**KEPT, "vt": None},
        {**KEPT, "msg_id": {}},
        {**KEPT, "message": ELSEWHERE},
    ],
)
def test_a_job_of_a_stranger_cannot_choose_what_the_guide_is_sent(guide: psycopg.Connection, kept: object) -> None:
    """Nor keep the import from being undone: a role that may send to our queue may have no rights in the guide's."""
    guide.execute("update documents set embedding = %s", [str(embed("there"))])
    guide.execute("delete from pgmq.q_embedding_jobs")
    carried_out(guide, plans(guide))
    guide.execute(
        "insert into pgmq.q_pgembedd_fresh (vt, message) values (now(), %s)",
        [Jsonb({"id": 3, "pipeline": 1, "imported": kept})],
    )
    assert undo(guide) == ["waiting jobs put into embedding_jobs: 1"]
    assert [each["message"] for each in waiting_messages(guide)] == [{**HERE, "contentFunction": "embedding_input"}]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("drop table documents cascade", "The table public.documents was dropped, and its triggers with it."),
        ("select pgmq.drop_queue('embedding_jobs')", "The guide's queue is gone, which its triggers write to."),
        (
            "alter table documents rename to old; create table documents (like old)",
            "The table public.documents is called public.old now, and its triggers were not.",
        ),
        ("drop schema util cascade", 'The trigger "documents_on_insert" cannot be created again: schema "util" does'),
    ],
)
def test_what_cannot_be_undone(guide: psycopg.Connection, damage: str, sentence: str) -> None:
    guide.execute("drop trigger documents_on_clear on documents; drop trigger documents_on_update on documents")
    carried_out(guide, plans(guide))
    guide.execute(damage.encode())
    before = triggers(guide)
    assert refused_undo(guide).startswith(sentence)
    assert triggers(guide) == before
    assert value(guide, "select count(*) from pgembedd_internal.imported_trigger") == 1


def test_a_database_without_the_guides_queue(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection)
    connection.execute("select pgmq.drop_queue('embedding_jobs')")
    assert "waiting jobs taken along: 0" in carried_out(connection, plans(connection))
    connection.execute(INSERT, [1])
    assert work(connection, embed=embed) == {1: "written"}


def test_odd_names_two_tables_and_two_columns(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    connection.execute('create schema "My Schema"')
    odd = {"schema": "My Schema", "column": 'the "vec"', "function": "In Put"}
    guide_table(connection, "It's", vector="vector(384)", **odd)  # type: ignore[arg-type]
    guide_table(connection, "plain")
    connection.execute("alter table plain add second halfvec(384)")
    connection.execute(
        "create trigger {braces} after insert on plain for each row "
        "execute function util.queue_embeddings('embedding_input', 'second')".replace("{braces}", '"{braces}"')
    )
    connection.execute("""insert into "My Schema"."It's" (id, title, content) values (1, 'a', 'b')""")
    connection.execute("insert into plain (id, title, content) values (2, 'a', 'b')")
    before = (trigger_definitions(connection), waiting_messages(connection))
    for plan in plans(connection):
        assert isinstance(plan, Plan)
        assert isinstance(execute_plan(connection, plan), list)
    assert rows(connection, "select name, vector_type, on_update from pgembedd_internal.pipeline order by 1") == [
        ("It_s.the_vec_", "vector", "keep"),
        ("plain.embedding", "halfvec", "keep"),
        ("plain.second", "halfvec", "keep"),
    ]
    assert queued(connection) == [1, 2, 2]
    for undone in list(find_undo_plans(connection)):
        assert isinstance(execute_plan(connection, undone), list)
    assert (trigger_definitions(connection), waiting_messages(connection)) == before


@pytest.mark.parametrize("key", ["int primary key", "int, at date not null default '2020-01-01', primary key (id, at)"])
def test_jobs_of_partitions_there_and_back(connection: psycopg.Connection, key: str) -> None:
    """The guide's message has the partition's name and the bare id, whatever the key is."""
    follow_guide(connection)
    guide_table(connection, key=key, partitioned=True)
    connection.cursor().executemany(INSERT, [(1,), (11,), (2,)])
    connection.execute("delete from documents where id = 2")
    before = waiting_messages(connection)
    assert [each["message"]["table"] for each in before] == ["documents 1", "documents 2", "documents 1"]
    carried_out(connection, plans(connection))
    connection.execute(INSERT, [12])
    undo(connection)
    *old, new = waiting_messages(connection)
    assert old == before
    assert (new["message"]["id"], new["message"]["table"]) == (12, "documents")
    carried_out(connection, plans(connection))
    work(connection, embed=embed)
    assert column(connection, "select id from documents where embedding is null") == []
    undo(connection)
    assert [each for each in waiting_messages(connection) if each["message"]["id"] != 2] == []


def test_messages_of_other_columns_and_nonsense_stay(guide: psycopg.Connection) -> None:
    guide.execute(
        """select pgmq.send('embedding_jobs', m) from unnest(array['{}', '[]', '"text"', 'null',
        '{"id": null, "schema": "public", "table": "documents", "embeddingColumn": "embedding"}',
        '{"id": 1, "schema": "public", "table": "documents", "embeddingColumn": "other"}',
        '{"id": 1, "schema": "other", "table": "documents", "embeddingColumn": "embedding"}']::jsonb[]) m"""
    )
    carried_out(guide, plans(guide))
    assert queued(guide) == [2]
    assert len(waiting_messages(guide)) == 7


def test_vectors_of_another_model_are_left_and_rows_embedded_again(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, vector="halfvec(1536)")
    connection.execute(INSERT, [1])
    reason = why(plans(connection))
    assert reason == (
        "it has 1536 dimensions, but gte-small makes 384: --made-by openai:text-embedding-3-small if its vectors are "
        "of that model, else --model gte-small embeds the rows again, into a new column."
    )
    before = triggers(connection)
    carried_out(connection, plans(connection, model="gte-small"))
    assert before < triggers(connection)
    assert rows(connection, "select name, embedding_column from pgembedd_internal.pipeline") == [
        ("documents.embedding_gte_small", "embedding_gte_small")
    ]
    work(connection, embed=embed)
    assert value(connection, "select embedding_gte_small is not null from documents")
    assert len(waiting_messages(connection)) == 1


def wide(text: str) -> list[float]:
    """A made-up vector of as many numbers as the guide's model gives."""
    return embed(text) * 4


@prepared
def published(connection: psycopg.Connection) -> None:
    """The guide as it is published: vectors of OpenAI's. Row 1 has one, row 2 has a job, row 3 has neither."""
    follow_guide(connection)
    guide_table(connection, key="int primary key generated by default as identity", vector="halfvec(1536)", clear=True)
    connection.execute("create index on documents using hnsw (embedding halfvec_cosine_ops)")
    connection.cursor().executemany(INSERT, [(1,), (2,), (3,)])
    connection.execute("update documents set embedding = %s where id = 1", [str(wide("by the guide"))])
    connection.execute("delete from pgmq.q_embedding_jobs where message ->> 'id' <> '2'")


def test_vectors_of_a_provider_are_kept_and_it_makes_those_to_come(published: psycopg.Connection) -> None:
    before = (trigger_definitions(published), waiting_messages(published), rows(published, "table documents"))
    (kept,) = column(published, "select d from documents d where id = 1")
    plan = only(plans(published, OPENAIS))
    assert plan.notes[-1].startswith("what changes is sent to openai by a worker that has this provider")
    carried_out(published, [plan])
    assert rows(published, "select model, dimensions, content_function, on_update from pgembedd_internal.pipeline") == [
        (OPENAIS, 1536, "public.embedding_input", "clear")
    ]
    assert (queued(published), queued(published, BACKFILL), waiting_messages(published)) == ([2], [3], [])
    assert rows(published, "table documents") == before[2]
    assert undo(published) == ["waiting jobs put into embedding_jobs: 2"]
    again = [each for each in waiting_messages(published) if each["message"]["id"] != 3]
    assert (trigger_definitions(published), again, rows(published, "table documents")) == before
    carried_out(published, plans(published, OPENAIS))
    assert work(published, embed=wide) == {2: "written", 3: "written"}
    assert column(published, "select d from documents d where id = 1") == [kept]


def test_a_provider_whose_dimensions_are_not_known_has_the_columns(connection: psycopg.Connection) -> None:
    """As one that shortens OpenAI's, by a name of its own."""
    follow_guide(connection)
    guide_table(connection, vector="halfvec(512)")
    connection.execute(INSERT, [1])
    connection.execute("update documents set embedding = %s", [str([1.0] * 512)])
    carried_out(connection, plans(connection, "short:text-embedding-3-small"))
    assert rows(connection, "select model, dimensions from pgembedd_internal.pipeline") == [
        ("short:text-embedding-3-small", 512)
    ]


def test_rows_may_be_embedded_again_by_a_provider(guide: psycopg.Connection) -> None:
    carried_out(guide, plans(guide, model=OPENAIS))
    assert rows(guide, "select model, dimensions, embedding_column from pgembedd_internal.pipeline") == [
        (OPENAIS, 1536, "embedding_openai_text_embedding_3_small")
    ]


@pytest.mark.parametrize("name", ["text-embedding-3-small", "ms-marco-minilm-l12"])
def test_a_name_that_makes_no_vectors_gets_those_that_do(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there are gte-small, .* and those of providers .* as openai:text"):
        options_of(name, None)


def test_the_guide_does_not_go_on_with_the_column_of_another_model(published: psycopg.Connection) -> None:
    before = trigger_definitions(published)
    carried_out(published, plans(published, OPENAIS))
    work(published, embed=wide)
    kept = rows(published, "select id, embedding::text from documents order by id")
    name = "documents.embedding"
    published.execute("select pgembedd.change_model(%s, model => 'gte-small')", [name])
    work(published, embed=embed)
    published.execute("select pgembedd.switch_model(%s, force => true)", [name])
    assert refused_undo(published) == (
        f'The vectors of the guide are those of "{name}.previous" now. '
        f"Revert first: select pgembedd.revert_model('{name}')."
    )
    published.execute("select pgembedd.revert_model(%s, force => true)", [name])
    published.execute("select pgembedd.drop_pipeline(%s, drop_vectors => true)", [f"{name}.next"])
    undo(published)
    assert trigger_definitions(published) == before
    assert rows(published, "select id, embedding::text from documents order by id") == kept


def test_the_guide_does_not_go_on_with_a_column_of_another_width(published: psycopg.Connection) -> None:
    carried_out(published, plans(published, OPENAIS))
    published.execute("alter table documents alter embedding type halfvec(384) using null")
    assert refused_undo(published).startswith(
        'The column "embedding" of public.documents is halfvec(384) now, and the guide wrote halfvec(1536). Give it'
    )
    published.execute("alter table documents alter embedding type halfvec(1536) using null")
    undo(published)


def test_a_column_of_another_width_is_offered_the_models_that_have_it(guide: psycopg.Connection) -> None:
    reason = why(plans(guide, OPENAIS))
    assert reason.startswith(f"it has 384 dimensions, but {OPENAIS} makes 1536: --made-by gte-small or --made-by all-")
    assert reason.endswith(
        f" if its vectors are of that model, else --model {OPENAIS} embeds the rows again, into a new column."
    )


def test_a_column_that_was_shrunk_by_hand_goes_on(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, embedding vector(1536))")
    call(
        connection,
        "create_pipeline",
        pipeline="documents",
        source="documents",
        content_columns=["title"],
        dimensions=1536,
        vector_type="vector",
        index_type="none",
    )
    connection.execute("insert into documents (id, title) values (1, 'one')")
    connection.execute("alter table documents alter embedding type halfvec(384)")
    call(connection, "resume", pipeline="documents")
    assert rows(connection, "select dimensions, vector_type from pgembedd_internal.pipeline") == [(384, "halfvec")]
    assert work(connection, embed=embed) == {1: "written"}
    connection.execute("alter table documents alter embedding type halfvec")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="halfvec now, but the pipeline writes"):
        call(connection, "resume", pipeline="documents")


CONDITION = (
    "drop trigger documents_on_insert on documents; create trigger t after insert on documents for each row "
    "when (new.other > 0) execute function util.queue_embeddings('embedding_input', 'embedding')"
)
SECOND = (
    "create trigger second after insert on documents for each row "
    "execute function util.queue_embeddings('other_input', 'embedding')"
)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("drop function embedding_input", "there is no function embedding_input that takes a row of it."),
        ("alter table documents drop embedding", 'it has no column "embedding" of the type halfvec or vector.'),
        (CONDITION, "its trigger has a WHEN"),
        (SECOND, "its triggers name 2 content functions (embedding_input, other_input): leave one of them."),
        (
            "select pgembedd.create_pipeline('mine', 'documents', '{title}', existing_vectors => 'keep')",
            'the pipeline "mine" fills it already.',
        ),
    ],
)
def test_what_cannot_be_taken_over(guide: psycopg.Connection, damage: str, reason: str) -> None:
    guide.execute(damage.encode())
    assert why(plans(guide)).startswith(reason)


def test_a_trigger_function_of_another_name(connection: psycopg.Connection) -> None:
    """The arguments decide; triggers with other arguments are ignored."""
    follow_guide(connection)
    guide_table(connection, triggers=False)
    connection.execute("alter function util.queue_embeddings rename to enqueue")
    connection.execute(
        "create trigger a after insert on documents for each row execute function util.enqueue('embedding_input', "
        "'embedding'); create trigger b after insert on documents for each row execute function util.enqueue('x', 'y')"
    )
    carried_out(connection, plans(connection))
    assert triggers(connection) == {"b", "pgembedd_1_insert", "pgembedd_1_update"}


def test_a_refusal_of_the_database_leaves_everything_as_it_was(guide: psycopg.Connection) -> None:
    plan = only(plans(guide))
    guide.execute("alter table documents drop constraint documents_pkey")
    before = (trigger_definitions(guide), waiting_messages(guide))
    outcome = execute_plan(guide, plan)
    assert isinstance(outcome, Refused)
    assert "has no primary key. The queue names rows" in outcome.why
    assert (trigger_definitions(guide), waiting_messages(guide)) == before
