"""What psql prints below a refusal: Postgres adds a line for each function and statement that raised it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database
from tests.support.refusals import check_context
from tests.support.sql import column, connected, create_pipeline, make_documents

# A refusal of each public function.
REFUSALS = {
    "alter_pipeline": [
        "select pgembedd.alter_pipeline('nope')",
        "select pgembedd.alter_pipeline('documents', content_columns => '{nope}')",
        "select pgembedd.alter_pipeline('documents', content_function => 'nope')",
        "select pgembedd.alter_pipeline('documents', content_function => 'gte-small')",
        "select pgembedd.alter_pipeline('documents', content_function => 'title')",
        "select pgembedd.alter_pipeline('documents', content_columns => '{title}', content_function => 'nope')",
        "select pgembedd.alter_pipeline('documents', content_columns => '{embedding}')",
        "select pgembedd.alter_pipeline('documents', on_update => 'clear', triggers => false)",
        "select pgembedd.alter_pipeline('documents', text_config => 'nope')",
        "select pgembedd.alter_pipeline('documents', max_attempts => 0)",
        "select pgembedd.alter_pipeline('documents', rename_to => 'two words')",
        "select pgembedd.alter_pipeline('documents', rename_to => repeat('x', 300))",
        "select pgembedd.alter_pipeline('documents', reset => '{nope}')",
        "select pgembedd.alter_pipeline('documents', reset => array_fill('x'::text, array[2001]))",
    ],
    "answer": ["call pgembedd.answer('nope', 'x')", "call pgembedd.answer('documents', 'x', timeout => null)"],
    "ask": ["select pgembedd.ask('nope', 'x')", "select pgembedd.ask('documents', '')"],
    "backfill": ["select pgembedd.backfill('nope')"],
    "change_model": [
        "select pgembedd.change_model('nope', 'gte-small')",
        "select pgembedd.change_model('documents', model => 'text-embedding-3-small')",
        "select pgembedd.change_model('documents', distance => 'hamming')",
        "select pgembedd.change_model('documents', index_options => '{\"lists\": 1}')",
        "select pgembedd.change_model('documents', chunk_tokens => 8)",
        "select pgembedd.change_model('documents', model => '')",
        "select pgembedd.change_model('documents', dimensions => 5000)",
    ],
    "claim_changed": [
        "select pgembedd_internal.claim_changed('[]', 30)",
        "select pgembedd_internal.claim_changed('{}', 30)",
    ],
    "claim_pushed": ["select pgembedd_internal.claim_pushed('{}', 30)"],
    "compare_models": ["select pgembedd.compare_models('nope')", "select pgembedd.compare_models('documents')"],
    "configure_answers": [
        "select pgembedd.configure_answers('nope', 'x')",
        "select pgembedd.configure_answers('documents', 'x', title_column => 'nope')",
        "select pgembedd.configure_answers('documents', 'x', min_similarity => 3)",
    ],
    "create_pipeline": [
        "select pgembedd.create_pipeline('x', 'nope', '{title}')",
        "select pgembedd.create_pipeline('two words', 'documents', '{title}')",
        "select pgembedd.create_pipeline('x', 'documents', '{nope}')",
        "select pgembedd.create_pipeline('x', 'documents')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', model => 'text-embedding-3-small')",
        "select pgembedd.create_pipeline('x', 'documents', content_function => 'nope')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_column => 'title')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_column => 'xmin')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_table => 't', chunk_tokens => 1)",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_table => 't', formatting => 'x')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_column => 'e', text_config => 'nope')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_column => 'e', index_when => 'never')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', embedding_table => 'nowhere.t')",
        "select pgembedd.create_pipeline(repeat('x', 300), 'documents', '{title}')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', 'gte-small')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', index_options => '{}', index_type => 'nope')",
        "select pgembedd.create_pipeline('x', 'documents', '{title}', index_options => '[]')",
        "select pgembedd.create_pipeline('documents', 'documents', '{title}', existing_vectors => 'nope')",
        "select pgembedd.create_pipeline('documents', 'documents', '{title}')",
        "select pgembedd.create_pipeline('documents', 'documents', '{body}', if_not_exists => true)",
    ],
    "drop_pipeline": ["select pgembedd.drop_pipeline('nope')"],
    "extend": ["select pgembedd_internal.extend('nope', '{1}', '{1}', 30)"],
    "mark_alone": ["select pgembedd_internal.mark_alone('nope', 1, 1)"],
    "release": ["select pgembedd_internal.release('nope', '{1}', '{1}', 0)"],
    "unshare_thread": ["select pgembedd.unshare_thread(gen_random_uuid(), 'postgres')"],
    "embed": [
        "select pgembedd.embed(' ')",
        "select pgembedd.embed('x', pipeline => 'nope')",
        "select pgembedd.embed('x', kind => 'nope')",
        "select pgembedd.embed('x')",
    ],
    "embed_through": ["select pgembedd.embed_through(port => 0)"],
    "explain_search": [
        "select pgembedd.explain_search('nope', 'x')",
        "select pgembedd.explain_search('documents', 'x', k => 0)",
    ],
    "expose_search": ["select pgembedd.expose_search('nope')"],
    "demand": ["select pgembedd.demand('nope')"],
    "grant_demand": ["select pgembedd.grant_demand(null)"],
    "revoke_demand": ["select pgembedd.revoke_demand(null)"],
    "grant_ask": ["select pgembedd.grant_ask(null)"],
    "revoke_ask": ["select pgembedd.revoke_ask(null)", "select pgembedd.revoke_ask('pgembedd')"],
    "grant_embed": ["select pgembedd.grant_embed(null)"],
    "revoke_embed": ["select pgembedd.revoke_embed(null)", "select pgembedd.revoke_embed('pgembedd')"],
    "grant_operator": ["select pgembedd.grant_operator(null)"],
    "revoke_operator": ["select pgembedd.revoke_operator(null)", "select pgembedd.revoke_operator('pgembedd')"],
    "grant_search": ["select pgembedd.grant_search(null)"],
    "revoke_search": ["select pgembedd.revoke_search(null)", "select pgembedd.revoke_search('pgembedd')"],
    "grant_worker": ["select pgembedd.grant_worker(null)"],
    "revoke_worker": ["select pgembedd.revoke_worker(null)", "select pgembedd.revoke_worker('pgembedd')"],
    "history": ["select pgembedd.history('nope')", "select pgembedd.history('documents', bucket => '-1 s')"],
    "index_statements": ["select pgembedd.index_statements('nope')"],
    "pause": ["select pgembedd.pause('nope')"],
    "pipeline_definition": ["select pgembedd.pipeline_definition('nope')"],
    "process_embeddings": ["select pgembedd.process_embeddings()"],
    "pipeline_status": ["select pgembedd.pipeline_status('nope')"],
    "row_status": ["select pgembedd.row_status('nope', '{1}')"],
    "publish_vectors": [
        "select pgembedd.publish_vectors('nope')",
        "select pgembedd.publish_vectors('documents', 'nope')",
    ],
    "unexpose_search": ["select pgembedd.unexpose_search('nope')"],
    "unpublish_vectors": [
        "select pgembedd.unpublish_vectors('nope')",
        "select pgembedd.unpublish_vectors('documents', 'nope')",
    ],
    "requeue": [
        "select pgembedd.requeue('nope', '{1}')",
        "select pgembedd.requeue('documents', array['\"x\"'::jsonb])",
    ],
    "resume": ["select pgembedd.resume('nope')"],
    "retry_dead_letters": [
        "select pgembedd.retry_dead_letters('nope')",
        "select pgembedd.retry_dead_letters('documents', 'nope')",
    ],
    "revert_model": ["select pgembedd.revert_model('nope')", "select pgembedd.revert_model('documents')"],
    "search": [
        "select pgembedd.search('nope', 'x')",
        "select pgembedd.search('documents', 'x', k => 0)",
        "select pgembedd.search('documents', 'x', mode => 'nope')",
        "select pgembedd.search('documents', 'x', min_similarity => 3)",
        "select pgembedd.search('documents', 'x', options => '{\"rrf_k\": 0}')",
        "select pgembedd.search('documents', 'x', filter => '{\"nope\": 1}', mode => 'text')",
        "select pgembedd.search('documents', 'x', filter => '{\"title\": {\"$nope\": 1}}', mode => 'text')",
        "select pgembedd.search('documents', 'x', filter => '{\"$and\": [{\"id\": \"x\"}]}', mode => 'text')",
        "select pgembedd.search('documents', '-x', mode => 'text')",
        "select pgembedd.search('documents', 'x')",
        "select pgembedd.search(null::documents, 'x', k => 0)",
        "select pgembedd.search(1, 'x')",
    ],
    "search_many": [
        "select pgembedd.search_many('{nope}', 'x')",
        "select pgembedd.search_many('{}', 'x')",
        "select pgembedd.search_many('{documents}', 'x', k => 0)",
        "select pgembedd.search_many('{documents}', 'x', mode => 'nope')",
        "select pgembedd.search_many('{documents}', '')",
        "select pgembedd.search_many('{documents}', 'x', mode => 'text', min_similarity => 0.5)",
    ],
    "search_row": ["select pgembedd.search_row('nope', '1')", "select pgembedd.search_row('documents', '\"x\"')"],
    "set_push": ["select pgembedd.set_push('nope')"],
    "share_thread": ["select pgembedd.share_thread(gen_random_uuid(), 'postgres')"],
    "similar": [
        "select pgembedd.similar('nope', '1')",
        "select pgembedd.similar('documents', '7')",
        "select pgembedd.similar(null, '1')",
    ],
    "stop_answer": ["select pgembedd.stop_answer(gen_random_uuid())"],
    "sweep": ["select pgembedd.sweep(-1)", "select pgembedd.sweep(within_s => -1)"],
    "switch_model": ["select pgembedd.switch_model('nope')", "select pgembedd.switch_model('documents')"],
    "wait_for_pipeline": [
        "call pgembedd.wait_for_pipeline('nope')",
        "call pgembedd.wait_for_pipeline('documents', timeout => null)",
    ],
    "wait_for_row": [
        "call pgembedd.wait_for_row('nope', '1')",
        "call pgembedd.wait_for_row('documents', '1', timeout => null)",
        "call pgembedd.wait_for_row('documents', '7')",
        "call pgembedd.wait_for_row('documents', '\"x\"')",
    ],
}


# They have no refusal of their own, or only workers call them.
NEVER = """
    add_objects allowed_s answer_sources begin_listing begin_provider_batch blocker claim claim_answers
    continue_backfill correct_provider_use decline_embed_request diagnose due due_listings end_turn events
    extend_answers fail fail_answer fail_listing finish_answer finish_embed_requests finish_listing heartbeat
    interface metrics models note_file note_provider_batch note_served note_slow note_slow_change note_unserved
    parse_pipelines pin_model postpone_answer probe_model provider_batches read read_answer read_chunks read_files
    read_uris release_answers release_pushed retention schema_version search_pipelines set_idle stop_pipeline store
    store_chunks store_pages take_embed_requests tick use_provider workers write_answers
"""


@pytest.fixture(scope="module")
def documents(server: EmbeddedPostgres, template: Database) -> Iterator[psycopg.Connection]:
    """A pipeline without rows or workers, in autocommit: within a transaction a second error has more lines."""
    with fresh_database(server, template.name) as database, connected(database) as connection:
        make_documents(connection)
        create_pipeline(connection)
        yield connection


def test_every_public_function_is_here(documents: psycopg.Connection) -> None:
    public = column(
        documents,
        "select distinct proname from pg_proc where proname !~ '^_'"
        " and pronamespace in ('pgembedd'::regnamespace, 'pgembedd_internal'::regnamespace)",
    )
    assert REFUSALS.keys() | set(NEVER.split()) == set(public)


@pytest.mark.parametrize(
    "statement",
    [
        """select pgembedd.search('documents', 'x', filter => jsonb_build_object(repeat('x', 50000), 1))""",
        """select pgembedd.search('documents', 'x', filter => jsonb_build_object('id', repeat('x', 50000)))""",
        """select pgembedd.search_row('documents', to_jsonb(repeat('x', 50000)))""",
        """select pgembedd.requeue('documents', array[to_jsonb(repeat('x', 50000))])""",
        """call pgembedd.wait_for_row('documents', to_jsonb(repeat('x', 50000)))""",
        """select pgembedd.create_pipeline('x', 'documents', array_fill(repeat('x', 60), array[1000]))""",
    ],
)
def test_a_long_value_is_not_repeated(documents: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        documents.execute(statement)
    assert len(caught.value.diag.message_primary or "") <= 1000
    assert len(caught.value.diag.message_hint or "") <= 1000
    check_context(caught.value)


@pytest.mark.parametrize("function", REFUSALS)
def test_it_is_short(documents: psycopg.Connection, function: str) -> None:
    for statement in REFUSALS[function]:
        with pytest.raises(psycopg.Error) as caught:
            documents.execute(statement)
        assert caught.value.diag.source_function == "exec_stmt_raise", statement
        assert caught.value.diag.message_hint, statement
        check_context(caught.value)
        named = set(re.findall(r"\b([a-z_]+) =>", str(caught.value.diag.message_hint)))
        assert named <= parameters(documents, str(caught.value.diag.message_hint), function), statement


def parameters(connection: psycopg.Connection, hint: str, function: str) -> set[str]:
    """The names of the arguments that the function takes, and those that the hint names with a call."""
    called = {function, *re.findall(r"\b(\w+)\(", hint)}
    named = "select unnest(proargnames[1:pronargs]) from pg_proc where proname = any (%s)"
    return set(column(connection, named, list(called)))
