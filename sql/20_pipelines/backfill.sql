-- A backfill goes through the table in the order of its key, ten thousand rows at a time: the first hundred thousand at
-- once, the others as workers work off what is queued. So no transaction is long, and no queue grows with the table.
-- `open_backfill` has how far it is.

create or replace function pgembedd.backfill(pipeline text, force boolean default false) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    return _backfill(_working_pipeline(pipeline), case when force then 'anew' else 'lacking' end);
end $$;
comment on function pgembedd.backfill is
    'Queue the rows that have no vector and are not queued; with force, every row. Returns how many: an estimate for '
    'more than 100,000, which are queued in parts.';

-- `scope`: `lacking` is the rows without a vector, a reason for that and a job; `all` is every row, `anew` every row
-- with the vectors that its chunks could keep. One that is open goes on, from the beginning where it is to do more.
create or replace function pgembedd_internal._backfill(
    pipeline pgembedd_internal.pipeline, scope text
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    queued bigint := 0;
    left_over bigint;
begin
    if scope = 'anew' and pipeline.unserved_reason is not null then
        -- Its provider changed the model, maybe: what it gives now counts.
        delete from provider_probe b where b.pipeline_id = pipeline.id;
    end if;
    insert into open_backfill as b (pipeline_id, scope) values (pipeline.id, _backfill.scope)
    on conflict (pipeline_id) do update set after = null, begun_at = excluded.begun_at,
        scope = case b.scope when 'anew' then 'anew' else excluded.scope end
    where excluded.scope <> 'lacking';
    for part in 1 .. 10 loop
        queued := queued + _continue_backfill(pipeline);
        if not _is_backfilling(pipeline.id) then return queued; end if;
    end loop;
    left_over := greatest(_rows_of(pipeline, scope) - queued, 1);
    update open_backfill b set rows_left = left_over where b.pipeline_id = pipeline.id;
    raise notice 'About % rows are queued, most of them in parts, as workers come to them.', queued + left_over;
    return queued + left_over;
end $$;

create or replace function pgembedd_internal._is_backfilling(pipeline_id integer) returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select exists (select from open_backfill b where b.pipeline_id = $1) $$;

-- Queues the next part of an open backfill and returns how many rows these are. Null where none is open, or another
-- session is at it.
create or replace function pgembedd_internal._continue_backfill(pipeline pgembedd_internal.pipeline) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.open_backfill;
    part jsonb;
    keys jsonb;
    queued bigint;
    key_shape constant text := _key_shape(pipeline.source);
begin
    select b.* into one from open_backfill b where b.pipeline_id = pipeline.id for update skip locked;
    if one.pipeline_id is null then return null; end if;
    -- A key that was altered since has another order.
    one.after := case when one.key_shape = key_shape then one.after end;
    part := _ask_named(pipeline, case when one.after is null then 'first rows' else 'next rows' end,
        jsonb_build_object('after', one.after, 'lacking', one.scope = 'lacking'));
    keys := part -> 'keys';
    if one.scope = 'lacking' then
        queued := _enqueue_once(pipeline, 'jsonb_array_elements($1) with ordinality as k(id, n)',
            _without_exceptions(pipeline, keys));
    else
        queued := _enqueue_rows(pipeline, 'jsonb_array_elements($1)', keys);
    end if;
    if one.scope = 'anew' and pipeline.embedding_table is not null and pipeline.task = 'embed' then
        -- The chunks stay, but the next store takes none over for an equal text.
        perform _invalidate_chunks(pipeline, keys);
    end if;
    if (part -> 'more')::boolean then
        one.after := part -> 'last'; one.key_shape := key_shape; one.rows_left := greatest(one.rows_left - queued, 1);
        update open_backfill b set (after, key_shape, rows_left) = (one.after, one.key_shape, one.rows_left)
        where b.pipeline_id = pipeline.id;
    else
        delete from open_backfill b where b.pipeline_id = pipeline.id;
    end if;
    return queued;
end $$;

-- Those of the keys whose rows have no reason to be without a vector.
create or replace function pgembedd_internal._without_exceptions(
    pipeline pgembedd_internal.pipeline, keys jsonb
) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce(jsonb_agg(k.id order by k.n), '[]') from jsonb_array_elements(keys) with ordinality as k(id, n)
    where _names_row(k.id, cardinality(pipeline.key_columns)) and not exists (
        select from row_state r
        where r.pipeline_id = pipeline.id and r.state in ('blank', 'dead') and r.key = k.id
          and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(k.id, 0))
$$;

-- An estimate of the rows that a backfill of that scope queues.
create or replace function pgembedd_internal._rows_of(pipeline pgembedd_internal.pipeline, scope text) returns bigint
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select (_extrapolated_rows(pipeline.source, c.seen, s.percent) * case when scope <> 'lacking' then 1
            else (c.lacking - c.blank)::double precision / greatest(c.seen, 1) end)::bigint
    from (select _percent(pipeline.source, 300)) as s(percent) cross join _count_lacking(pipeline, s.percent) c
$$;

-- Queues up to `at_most` rows without a vector, a reason for that and a job.
create or replace function pgembedd_internal._enqueue_lacking(
    pipeline pgembedd_internal.pipeline, at_most bigint
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
begin
    return _enqueue_once(pipeline, _render($q$
        {lacking} with ordinality as k(id, n) where not exists (
            select from pgembedd_internal.row_state r
            where r.pipeline_id = {id} and r.state in ('blank', 'dead') and r.key = k.id)
          and pgembedd_internal._names_row(k.id, {columns})$q$, jsonb_build_object(
        'lacking', _named_statement(pipeline, 'lacking'), 'id', pipeline.id,
        'columns', cardinality(pipeline.key_columns))), at_most => at_most);
end $$;

-- Whether a job can name a row by that key of so many columns. Of one that cannot be NULL it may be JSON's null.
create or replace function pgembedd_internal._names_row(key jsonb, columns integer) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when columns = 1 then key <> 'null' else not jsonb_path_exists(key, 'strict $.* ? (@ == null)') end
$$;

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
