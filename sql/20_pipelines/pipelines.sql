-- The state, with what the catalog says at once and a worker or the upkeep would meet later: a table was dropped, which
-- no later change can undo.
create or replace function pgembedd_internal._state_now(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when pipeline.state = 'running' and exists (
                    select from unnest(array[pipeline.source, pipeline.embedding_table]) as t(oid)
                    where t.oid is not null and not exists (select from pg_class c where c.oid = t.oid))
                then 'stopped' else pipeline.state end
$$;

-- A pipeline in the words of create_pipeline(): each column is called as a parameter, and holds its argument.
-- What else a list of pipelines needs, and every later option, comes at the end, since the view keeps its order.
create or replace function pgembedd_internal._shown_pipeline(one pgembedd_internal.pipeline) returns table (
    pipeline text, source text, content_columns text[], content_function text, embedding_column text, model text,
    dimensions integer, vector_type text, distance text, watch_columns text[], on_update text, max_attempts integer,
    index_type text, index_options jsonb, embedding_table text, chunk_tokens integer, chunk_overlap_tokens integer,
    splitter text, formatting text, enable_always boolean, triggers boolean, text_config text, retry_delay interval,
    retry_factor double precision, retry_max_delay interval, state text, created_at timestamptz,
    task text, into_table text, uri_column text, uri_prefixes text[], recheck_interval interval,
    objects_uri text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select one.name,
           -- Of a table that was dropped the name is remembered.
           coalesce((select c.oid::regclass::text from pg_class c where c.oid = one.source), one.source_name),
           case when one.uri_prefixes is null then one.content_columns end, one.content_function,
           one.embedding_column, one.model, one.dimensions,
           case when e.embeds then one.vector_type end, case when e.embeds then one.distance end, one.watch_columns,
           one.on_update, one.max_attempts, case when e.embeds then one.index_type end,
           case when e.embeds then jsonb_strip_nulls(
               jsonb_build_object('m', one.m, 'ef_construction', one.ef_construction)) end,
           case when e.embeds then e.table_name end, one.chunk_tokens, nullif(one.chunk_overlap_tokens, 0),
           case when e.embeds then one.splitter end, one.formatting, one.enable_always,
           one.triggers, case when e.embeds then coalesce(one.text_config_column, one.text_config, 'none') end,
           one.retry_delay, one.retry_factor,
           one.retry_max_delay, _state_now(one), one.created_at, one.task, case when not e.embeds then e.table_name end,
           case when one.uri_prefixes is not null then one.content_columns[1] end, one.uri_prefixes,
           one.recheck_interval, one.objects_uri
    from (select one.task = 'embed', coalesce(
              (select c.oid::regclass::text from pg_class c where c.oid = one.embedding_table),
              one.embedding_table_name)) as e(embeds, table_name)
$$;

create or replace view pgembedd.pipelines as
select o.* from pgembedd_internal.pipeline p cross join lateral pgembedd_internal._shown_pipeline(p) o;
comment on view pgembedd.pipelines is
    'One line a pipeline: its definition, in columns that are called as the parameters of create_pipeline().';
