"""`import supabase`: pipelines in the place of the guide's triggers, vectors kept."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgembedd.contrib.plan import Plan, Refused, as_script, execute_plan
from pgembedd.contrib.supabase import find_plans, options_of
from tests.support.guide import INSERT, embed, follow_guide, guide_table
from tests.support.imports import carried_out, only, triggers, why
from tests.support.sql import queued, rows, value, work


def plans(connection: psycopg.Connection, **options: Any) -> list[Plan | Refused]:
    """Returns the plans of the import; the triggers are dropped by default."""
    chosen = {"made_by": "gte-small", "model": None, "drop_triggers": True} | options
    return list(find_plans(connection, options_of(**chosen)))


@pytest.fixture
def guide(connection: psycopg.Connection) -> psycopg.Connection:
    """One row with a vector and one without; the guest that made it is there, too."""
    follow_guide(connection)
    guide_table(connection, clear=True)
    connection.execute(INSERT, [1])
    work(connection, embed=embed)
    connection.execute(INSERT, [2])
    return connection


def test_the_pipeline_takes_the_place_of_the_triggers(guide: psycopg.Connection) -> None:
    before = value(guide, "select embedding::text from documents where id = 1")
    done = carried_out(guide, plans(guide))
    assert 'made the pipeline "documents.embedding"; 0 rows queued that have no vector' in done
    assert triggers(guide) == {"pgembedd_2_insert", "pgembedd_2_update", "pgembedd_2_clear"}
    ((content, watched, on_update, own),) = rows(
        guide, "select content_function, watch_columns, on_update, own_triggers from pgembedd.pipeline"
    )
    assert (content, sorted(watched), on_update, own) == (
        "public.embedding_input", ["content", "title"], "clear", True
    )  # fmt: skip
    assert queued(guide) == [2], "the guide's own job is worked on by the pipeline"
    assert work(guide, embed=embed) == {2: "written"}
    assert value(guide, "select embedding::text from documents where id = 1") == before
    guide.execute("update documents set other = 1")
    assert queued(guide) == []
    guide.execute("update documents set title = 'new' where id = 1")
    assert value(guide, "select embedding is null from documents where id = 1")
    assert work(guide, embed=embed) == {1: "written"}


def test_a_dry_run_is_a_script_that_does_the_same(guide: psycopg.Connection) -> None:
    script = "\n".join(as_script(guide, only(plans(guide))))
    assert "pgembedd_2_insert" not in triggers(guide)
    guide.execute(script.encode())
    assert triggers(guide) == {"pgembedd_2_insert", "pgembedd_2_update", "pgembedd_2_clear"}


def test_without_leave_to_drop_them_it_refuses_to_queue_twice(guide: psycopg.Connection) -> None:
    assert "(documents_on_insert, documents_on_update) would queue every row twice" in why(
        plans(guide, drop_triggers=False)
    )


def test_odd_names_and_two_tables(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    connection.execute('create schema "My Schema"')
    guide_table(connection, "It's", schema="My Schema", column='the "vec"', function="In Put", vector="vector(384)")
    guide_table(connection, "plain")
    for plan in plans(connection):
        assert isinstance(plan, Plan)
        assert isinstance(execute_plan(connection, plan), list)
    assert rows(connection, "select name, vector_type, on_update from pgembedd.pipeline order by 1") == [
        ("It_s.the_vec_", "vector", "keep"),
        ("plain.embedding", "halfvec", "keep"),
    ]
    connection.execute("""insert into "My Schema"."It's" (id, title, content) values (1, 'a', 'b')""")
    assert work(connection, embed=embed) == {1: "written"}


def test_vectors_of_another_model_are_left_and_rows_embedded_anew(connection: psycopg.Connection) -> None:
    follow_guide(connection)
    guide_table(connection, vector="halfvec(1536)")
    connection.execute(INSERT, [1])
    reason = why(plans(connection))
    assert reason == (
        "it has 1536 dimensions, but gte-small makes 384: --model gte-small embeds the rows anew, into a new column."
    )
    before = triggers(connection)
    carried_out(connection, plans(connection, model="gte-small", drop_triggers=False))
    assert before < triggers(connection)
    assert rows(connection, "select name, embedding_column from pgembedd.pipeline") == [
        ("documents.embedding_gte_small", "embedding_gte_small")
    ]
    work(connection, embed=embed)
    assert value(connection, "select embedding_gte_small is not null from documents")


CONDITION = (
    "drop trigger documents_on_insert on documents; create trigger t after insert on documents for each row "
    "when (new.other > 0) execute function util.queue_embeddings('embedding_input', 'embedding')"
)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("drop function embedding_input", "there is no function embedding_input that takes a row of it."),
        ("alter table documents drop embedding", 'it has no column "embedding" of the type halfvec or vector.'),
        (CONDITION, "its trigger has a WHEN"),
        (
            "select pgembedd.create_pipeline('mine', 'documents', '{title}', create_index => false, adopt => true)",
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
    before = triggers(guide)
    outcome = execute_plan(guide, plan)
    assert isinstance(outcome, Refused)
    assert "has no primary key. The queue names rows" in outcome.why
    assert triggers(guide) == before
