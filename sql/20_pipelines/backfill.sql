create or replace function pgembedd.backfill(pipeline text, force boolean default false) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    return _backfill(_working_pipeline(pipeline), force);
end $$;
comment on function pgembedd.backfill is
    'Queue the rows that have no vector and are not queued; with force, every row. Returns how many.';

-- Queues the rows without a vector, a reason for that and a job; with `force` every row.
create or replace function pgembedd_internal._backfill(
    pipeline pgembedd_internal.pipeline, force boolean, at_most bigint default null
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    queued bigint;
begin
    if not force then
        return _enqueue_once(pipeline, _render($q$
            {lacking} with ordinality as k(id, n) where not exists (
                select from pgembedd_internal.row_state r
                where r.pipeline_id = {id} and r.state in ('blank', 'dead') and r.key = k.id)
              and {is_named}$q$, jsonb_build_object(
            'lacking', _named_statement(pipeline, 'lacking'), 'id', pipeline.id,
            -- Of a column that cannot be NULL it is JSON's null, which no job can name a row by.
            'is_named', case when cardinality(pipeline.key_columns) = 1 then $n$k.id <> 'null'$n$
                             else $n$not jsonb_path_exists(k.id, 'strict $.* ? (@ == null)')$n$ end)),
            at_most => at_most);
    end if;
    if pipeline.unserved_reason is not null then  -- its provider changed the model, maybe: what it gives now counts
        delete from provider_probe b where b.pipeline_id = pipeline.id;
    end if;
    queued := _enqueue_rows(pipeline, _named_statement(pipeline, 'all'));
    -- The chunks stay, but the next store takes none over for an equal text. Only now, with a lock on the source: a
    -- TRUNCATE waits there, and not for our rows here. What is being written at this moment is new anyway.
    if pipeline.embedding_table is not null then
        perform _invalidate_chunks(pipeline);
    end if;
    return queued;
end $$;

-- Queues those of the keys that have no job, in their order, as _enqueue_rows does. `keys` is a FROM item `k` with the
-- columns id and n, and conditions. No nested loop: where the statistics of a queue know of no job of the pipeline, it
-- would compare each key with each job.
create or replace function pgembedd_internal._enqueue_once(
    pipeline pgembedd_internal.pipeline, keys text, given jsonb default null, at_most bigint default null
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_nestloop = off
as $$
begin
    return _enqueue_rows(pipeline, _render($q$
        (select k.id from (select k.id, k.n from {keys}) k
         where not exists (
            select from (select q.message -> 'id' as id from pgmq.q_pgembedd_fresh q where {is_job} union all
                         select q.message -> 'id' from pgmq.q_pgembedd_backfill q where {is_job}) queued
            where queued.id = k.id)
         order by k.n limit {at_most})$q$, jsonb_build_object(
        'keys', keys, 'is_job', _is_for(pipeline.id), 'at_most', coalesce(at_most::text, 'all'))), given);
end $$;

-- The condition that the row `s` of the source has no vector.
create or replace function pgembedd_internal._lacks_vector(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when pipeline.embedding_table is null then format('s.%I is null', pipeline.embedding_column)
                else format('not exists (select from %s e where %s)', pipeline.embedding_table,
                            _key_match(pipeline.source, 'e', 's')) end
$$;
