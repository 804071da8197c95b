"""A boolean argument that is NULL has its default."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.prepared import prepared
from tests.support.sql import create_pipeline, make_documents, rows
from tests.support.transaction import connection

__all__ = ["connection"]

CREATE = "select pgembedd.create_pipeline('x', 'documents', '{{title}}', embedding_column => 'x', dimensions => 3{})"
CHANGE = "select pgembedd.change_model('documents', 'new-model', 3{})"
EXPLAIN = "pgembedd.explain_search('documents', 'x', mode => 'semantic', embedding => '[1,2,3]'{})"
EMBEDDED = "update documents set embedding = '[1,2,3]'"

# Of each argument a call that takes it, and, where its result does not tell, what does afterwards.
CALLS = {
    "alter_pipeline.backfill": ["select pgembedd.alter_pipeline('documents', content_columns => '{{title}}'{})"],
    "alter_pipeline.if_exists": ["select pgembedd.alter_pipeline('nope', max_attempts => 3{})"],
    "backfill.force": ["select pgembedd.backfill('documents'{})"],
    "change_model.backfill": [CHANGE],
    "create_pipeline.backfill": [CREATE],
    "create_pipeline.enable_always": [CREATE, "select enable_always from pgembedd.pipelines where pipeline = 'x'"],
    "create_pipeline.triggers": [CREATE, "select triggers from pgembedd.pipelines where pipeline = 'x'"],
    "create_pipeline.if_not_exists": [CREATE],
    "drop_pipeline.drop_vectors": ["select pgembedd.drop_pipeline('documents'{})", "select embedding from documents"],
    "drop_pipeline.if_exists": ["select pgembedd.drop_pipeline('nope'{})"],
    "explain_search.with_hits": [f"select {EXPLAIN} #> '{{{{semantic,hits}}}}' is null"],
    "revert_model.force": ["select pgembedd.revert_model('documents'{})"],
    "sweep.only_due": ["select pgembedd.sweep(10{})"],
    "switch_model.force": ["select pgembedd.switch_model('documents'{})"],
}
BEFORE = {
    "backfill.force": [EMBEDDED],
    "create_pipeline.if_not_exists": [CREATE.format("")],
    "revert_model.force": [CHANGE.format(""), "select pgembedd.switch_model('documents', force => true)", EMBEDDED],
    "sweep.only_due": ["update pgembedd_internal.pipeline set sweep_due_at = 'infinity'"],
    "switch_model.force": [CHANGE.format(""), EMBEDDED],
}

# One whose default is NULL says that something stays as it is.
BOOLEANS = """
    select p.proname || '.' || a.name, pg_get_function_arg_default(p.oid, a.nth::integer)
    from pg_proc p, unnest(p.proargnames, p.proargtypes::oid[]) with ordinality as a(name, type, nth)
    where p.pronamespace = 'pgembedd'::regnamespace and a.type = 'boolean'::regtype
      and pg_get_function_arg_default(p.oid, a.nth::integer) is distinct from 'NULL::boolean'
"""


@prepared
def documents(connection: psycopg.Connection) -> None:
    """Two rows that have no vector and are not queued."""
    make_documents(connection, 2)
    create_pipeline(connection, backfill=False)


def test_each_has_a_call(documents: psycopg.Connection) -> None:
    booleans = dict(rows(documents, BOOLEANS))
    assert set(booleans) == set(CALLS)
    assert set(booleans.values()) == {"true", "false"}


@pytest.mark.parametrize("argument", CALLS)
def test_null_is_the_default(documents: psycopg.Connection, argument: str) -> None:
    default = dict(rows(documents, BOOLEANS))[argument]
    other = "false" if default == "true" else "true"
    left_out, null, opposite = [outcome(documents, argument, given) for given in (None, "null", other)]
    assert left_out == null != opposite


def outcome(connection: psycopg.Connection, argument: str, given: str | None) -> Any:
    """Returns what a call with that value leads to, or the code of its error."""
    named = "" if given is None else f", {argument.partition('.')[2]} => {given}"
    call, *look = CALLS[argument]
    try:
        with connection.transaction(force_rollback=True):
            for statement in BEFORE.get(argument, []):
                connection.execute(statement.encode())
            found = rows(connection, call.format(named))
            return [rows(connection, statement) for statement in look] or found
    except psycopg.Error as error:
        return error.sqlstate
