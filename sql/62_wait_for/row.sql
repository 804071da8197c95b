create or replace procedure pgembedd.wait_for_row(pipeline text, key jsonb, timeout interval default '1 minute')
language plpgsql
as $$
declare
    jobs pg_catalog.record;
    above pgembedd_internal.pipeline := pgembedd_internal._upstream(pgembedd_internal._pipeline(pipeline));
    deadline pg_catalog.timestamptz := pg_catalog.clock_timestamp() operator(pg_catalog.+) timeout;
    ignored pg_catalog.text := pgembedd_internal._check_wait(timeout);
begin
    if pgembedd_internal._upstream_key(above, key) is not null then
        call pgembedd.wait_for_row(above.name, pgembedd_internal._upstream_key(above, key), timeout);
        timeout := greatest(deadline operator(pg_catalog.-) pg_catalog.clock_timestamp(), '0');
    end if;
    jobs := pgembedd_internal._row_jobs(pgembedd_internal._pipeline(pipeline), key);
    call pgembedd_internal._wait_for_row(pipeline, jobs.key, jobs.fresh, jobs.backfill, jobs.made, timeout);
    ignored := pgembedd_internal._refuse_dead(pgembedd_internal._pipeline(pipeline), jobs.key);
end $$;
comment on procedure pgembedd.wait_for_row is
    'Wait until every change of one row that is committed by now has its vector, or its pages; raises when that cannot '
    'be.';

-- The key of the row that a row is made of; null where nothing fills its table, or the key has other columns.
create or replace function pgembedd_internal._upstream_key(above pgembedd_internal.pipeline, key jsonb) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(key) = 'object' and key ?& above.key_columns then
        case when cardinality(above.key_columns) = 1 then key -> above.key_columns[1]
             else (select jsonb_object_agg(k, key -> k) from unnest(above.key_columns) as k) end end
$$;

create or replace procedure pgembedd_internal._wait_for_row(
    name text, key jsonb, fresh bigint[], backfill bigint[], made boolean, timeout interval
)
language plpgsql
as $$
declare
    one pgembedd_internal.pipeline;
    deadline pg_catalog.timestamptz := pg_catalog.clock_timestamp() operator(pg_catalog.+) timeout;
begin
    if made then commit; end if;
    while pgembedd_internal._any_queued('pgembedd_fresh', fresh)
            or pgembedd_internal._any_queued('pgembedd_backfill', backfill) loop
        one := pgembedd_internal._pipeline(name);
        if pgembedd_internal._shown_state(one) operator(pg_catalog.<>) 'running' then
            raise exception 'The pipeline "%" is %, and the row % waits: %', name,
                pgembedd_internal._shown_state(one), key, pgembedd_internal._shown_reason(one)
                using errcode = 'object_not_in_prerequisite_state';
        elsif pg_catalog.clock_timestamp() operator(pg_catalog.>) deadline then
            raise exception 'The row % of the pipeline "%" still waits after %.', key, name, timeout
                using errcode = 'query_canceled',
                    hint = 'See pgembedd.status and pgembedd.dead_letters; is a worker running?';
        end if;
        commit;
        perform pg_catalog.pg_sleep(0.05);
    end loop;
end $$;

-- The jobs that one row waits for, as of now; one is made when the row has no vector, no reason for that, and no job.
-- `key` is the row's key as messages carry it, which `id` need not be: "7" finds the row 7.
create or replace function pgembedd_internal._row_jobs(
    pipeline pgembedd_internal.pipeline, id jsonb,
    out key jsonb, out fresh bigint[], out backfill bigint[], out made boolean
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    target pgembedd_internal._search_target;
    found_one jsonb;
    ignored text := _check_problem(pipeline);
begin
    target := _search_target(pipeline.name, null, null);
    ignored := _check_search_key(target, id);
    begin
        found_one := _ask(pipeline, format(
            'select pg_catalog.jsonb_build_array(%s, %s) from %s join %s s on %s',
            _key_json(pipeline.source, 's'), _lacks_vector(pipeline),
            _key_record(pipeline.source, quote_nullable(id) || '::pg_catalog.jsonb'), pipeline.source,
            _key_match(pipeline.source, 's', 'k')));
    exception when data_exception or integrity_constraint_violation then  -- of a domain
        ignored := _check_search_key(target, id, sqlerrm);
    end;
    if found_one is null then
        raise exception using
            message = _cut(format('%s has no row %s.', pipeline.source, id)),
            hint = _search_key_in_words(pipeline.source, pipeline.key_columns), errcode = 'no_data_found';
    end if;
    key := found_one -> 0;
    fresh := _jobs_of_row(pipeline.id, 'pgembedd_fresh', key);
    backfill := _jobs_of_row(pipeline.id, 'pgembedd_backfill', key);
    -- A job that is done since has left its vector; one more finds it there. A row that a backfill has not come to gets
    -- its job now.
    made := fresh = '{}' and backfill = '{}' and ((found_one -> 1)::boolean or exists (
        select from open_backfill b where b.pipeline_id = pipeline.id and b.scope <> 'lacking')) and not exists (
        select from row_state r
        where r.pipeline_id = pipeline.id and r.key = _row_jobs.key and r.state in ('blank', 'dead')
          and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(_row_jobs.key, 0));
    if made then
        execute _enqueue(pipeline, 'pgembedd_fresh', '$1', '(select) w') || ' returning array[msg_id]' into fresh
            using key;
        perform _wake('pgembedd_fresh');
    end if;
end $$;

create or replace function pgembedd_internal._jobs_of_row(pipeline_id integer, queue text, key jsonb) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    jobs bigint[];
begin
    -- Triggers of other programs may write a number as a string.
    execute format($q$
        select array_agg(q.msg_id) from %s q
        where (q.message -> 'id' = $1 or q.message ->> 'id' = $1 #>> '{}') and %s
        $q$, _queue_table(queue), _is_for(pipeline_id)) into jobs using key;
    return coalesce(jobs, '{}');
end $$;

create or replace function pgembedd_internal._refuse_dead(pipeline pgembedd_internal.pipeline, key jsonb) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    letter pgembedd_internal.dead_letter;
begin
    select d.* into letter from dead_letter d
    where d.pipeline_id = pipeline.id and (d.key = _refuse_dead.key or d.key #>> '{}' = _refuse_dead.key #>> '{}')
    order by d.died_at desc limit 1;
    if letter.id is not null then
        raise exception 'The row % of the pipeline "%" failed for good (%): %', key, pipeline.name, letter.reason,
            letter.error
            using errcode = 'object_not_in_prerequisite_state', hint = format(
                'See pgembedd.dead_letters; when the cause is gone, call pgembedd.retry_dead_letters(%L).',
                pipeline.name);
    end if;
end $$;
