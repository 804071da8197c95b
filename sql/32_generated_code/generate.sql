-- The code of a pipeline is generated: it names the pipeline's own columns and types, so a writer's transaction runs no
-- dynamic SQL.
--
--   pipeline_N_on_insert, _on_update   triggers; run as _runner(), because writers have no right on the queue; they
--                                      call nothing of the user's
--   pipeline_N_on_row                  trigger, with enable_always only
--   pipeline_N_clear                   trigger, with on_update => 'clear' only
--   pipeline_N_named, _gone            our queries on the source, run as its owner
--   pipeline_N_as_owner                any other query of the installer's, run as the owner of the source
--   pipeline_N_read, pipeline_N_write  run as the owner of the source table, under the search_path of the role that
--                                      created the pipeline: the user's content function and triggers run here,
--                                      with no more rights than the table's owner has
--
-- With a search by words, also:
--
--   pipeline_N_words                   writes the words of rows, in the transaction that stores their vectors
--
-- With an embedding table, or a table of pages, also:
--
--   pipeline_N_forget                  deletes the chunks of the keys given
--   pipeline_N_tidy                    deletes the chunks of all rows that are gone
--   pipeline_N_on_delete, _on_truncate triggers: chunks are deleted in the transaction that deletes their row. A
--                                      foreign key would forbid TRUNCATE and cost a statement per deleted row
--
-- Our own names in them are qualified, so that no search_path affects them.
--
-- They stand in a schema of their own, pgembedd_code, on which no role but _runner() is granted USAGE: the owner of a
-- function may alter it, and one made SECURITY INVOKER would run the table owner's code with our rights. For the same
-- reason our functions read a user's table through these functions only: Postgres runs code of a table's owner (a
-- domain's CHECK, a function in an index's WHERE) already while planning.

create or replace function pgembedd_internal._pipeline_function(id integer, verb text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('pgembedd_code.pipeline_%s_%s', id, verb) $$;

create or replace function pgembedd_internal._generate(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    -- As it is before the code is made: where the table is altered meanwhile, the code counts as out of date. A shape
    -- that was taken afterwards could be one that the code was not made for, and no look would find a difference.
    made_for text := (select _shape(p) from pipeline p where p.id = _generate.pipeline.id);
begin
    perform _generate_as_owner(pipeline), _generate_named_statements(pipeline);
    if pipeline.embedding_table is null then
        perform _generate_read(pipeline), _generate_write(pipeline);
    elsif pipeline.task = 'parse' then
        perform _generate_pages_write(pipeline);
        if pipeline.uri_prefixes is null then perform _generate_pages_read(pipeline);
        else perform _generate_uris_read(pipeline); end if;
    else
        perform _generate_chunks_read(pipeline), _generate_chunks_write(pipeline);
    end if;
    if pipeline.embedding_table is not null then
        perform _generate_chunks_forget(pipeline), _ensure_view(pipeline), _mirror_rights(pipeline);
    end if;
    if _exists(pipeline.words_table) then  -- the sweep makes one that was dropped again
        perform _generate_words(pipeline), _mirror_words_rights(pipeline);
    end if;
    if pipeline.triggers then
        perform _generate_triggers(pipeline);
        perform _attach(pipeline);
    end if;
    update pipeline p
    set shape = made_for, source_name = p.source::text, embedding_table_name = p.embedding_table::text
    where p.id = _generate.pipeline.id;
    perform _prepare_search(p) from pipeline p where p.id = _generate.pipeline.id;
end $$;
