-- Two forms, because a quoted literal has no type that `anyelement` could take. The timeout has no default: with one,
-- wait_for('documents', '30 s') could mean either.
create or replace procedure pgembedd.wait_for(name text, id text, timeout interval)
language plpgsql
as $$
begin
    call pgembedd._wait_for_row(name, pgembedd._key_from_text(pgembedd._pipeline(name), id), timeout);
end $$;
comment on procedure pgembedd.wait_for(text, text, interval) is
    'Wait until every change of one row that is committed by now has its vector; raises when that cannot be.';

create or replace procedure pgembedd.wait_for(name text, id anyelement, timeout interval)
language plpgsql
as $$
begin
    call pgembedd._wait_for_row(name, pg_catalog.to_jsonb(id), timeout);
end $$;
comment on procedure pgembedd.wait_for(text, anyelement, interval) is
    'Wait until every change of one row that is committed by now has its vector; raises when that cannot be.';

create or replace procedure pgembedd._wait_for_row(name text, id jsonb, timeout interval)
language plpgsql
as $$
declare
    one pgembedd.pipeline := pgembedd._pipeline(name);
    deadline timestamptz := pg_catalog.clock_timestamp() + timeout;
    jobs record;
begin
    perform pgembedd._refuse_to_wait_unseen(), pgembedd._refuse_to_wait_for_ever(timeout);
    select j.* into jobs from pgembedd._row_jobs(one, id) j;
    if jobs.made then commit; end if;
    while pgembedd._any_queued('pgembedd_jobs', jobs.fresh)
        or pgembedd._any_queued('pgembedd_backfill', jobs.backfill) loop
        one := pgembedd._pipeline(name);
        if one.state <> 'running' then
            raise exception 'The pipeline "%" is %, and the row % waits: %', name, one.state, jobs.key, one.state_reason
                using errcode = 'object_not_in_prerequisite_state';
        elsif pg_catalog.clock_timestamp() > deadline then
            raise exception 'The row % of the pipeline "%" still waits after %.', jobs.key, name, timeout
                using errcode = 'query_canceled',
                    hint = 'See pgembedd.status and pgembedd.failures; is a worker running?';
        end if;
        commit;
        perform pg_catalog.pg_sleep(0.05);
    end loop;
    perform pgembedd._refuse_dead(one, jobs.key);
end $$;

-- The jobs that one row waits for, as of now; one is made when the row has no vector, no reason for that, and no job.
-- `key` is the row's key as messages carry it, which `id` need not be: "7" finds the row 7.
create or replace function pgembedd._row_jobs(
    pipeline pgembedd.pipeline, id jsonb, out key jsonb, out fresh bigint[], out backfill bigint[], out made boolean
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
-- The settings of _key_settings.
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'
as $$
declare
    -- Others' triggers may write a number as a string.
    jobs text := 'array(select q.msg_id from {queue} q
                        where (q.message -> ''id'' = w.key or q.message ->> ''id'' = w.key #>> ''{}'') and {is_job})';
    is_job text := _is_for(pipeline.id);
begin
    if _problem(pipeline) is not null then perform _refuse(_problem(pipeline)); end if;
    begin
        -- One statement, one snapshot: a job that is gone has left its vector.
        execute _render($q$
            with w as materialized (
                select {key} as key, {lacks_vector} as waits from {key_record} join {source} s on {is_source_row})
            select w.key, {fresh}, {backfill}, w.waits and not exists (
                select from pgembedd.row_state r
                where r.pipeline_id = {id} and r.key = w.key and r.state in ('blank', 'dead')
                  and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(w.key, 0))
            from w $q$, jsonb_build_object(
            'key', _key_json(pipeline.source, 's'), 'lacks_vector', _lacks_vector(pipeline),
            'key_record', _key_record(pipeline.source, '$1'), 'source', pipeline.source,
            'is_source_row', _key_match(pipeline.source, 's', 'k'), 'id', pipeline.id,
            'fresh', _render(jobs, jsonb_build_object('queue', _queue_table('pgembedd_jobs'), 'is_job', is_job)),
            'backfill', _render(jobs, jsonb_build_object(
                'queue', _queue_table('pgembedd_backfill'), 'is_job', is_job))))
        into key, fresh, backfill, made using id;
    exception when data_exception or integrity_constraint_violation then  -- of a domain, too
        perform _refuse(format('%s cannot be the key of a row of %s: %s.', id, pipeline.source, sqlerrm),
            _key_in_words(pipeline));
    end;
    if key is null then
        perform _refuse(format('%s has no row %s.', pipeline.source, coalesce(id::text, 'NULL')),
            _key_in_words(pipeline));
    end if;
    made := made and fresh = '{}' and backfill = '{}';
    if made then
        execute _enqueue(pipeline, 'pgembedd_jobs', '$1', '(select) w') || ' returning array[msg_id]' into fresh
            using key;
        perform _wake('pgembedd_jobs');
    end if;
end $$;

-- An unquoted string is the key itself, or its JSON where JSON alone can name the row.
create or replace function pgembedd._key_from_text(pipeline pgembedd.pipeline, id text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if cardinality(pipeline.key_columns) = 1 and not exists (
        select from _key_columns(pipeline.source) k where k.base = 'jsonb'::regtype)
    then
        return to_jsonb(id);
    end if;
    return id::jsonb;
exception when invalid_text_representation then
    perform _refuse(format('%s cannot be the key of a row of %s: it is no JSON.', quote_literal(id), pipeline.source),
        _key_in_words(pipeline));
end $$;

create or replace function pgembedd._key_in_words(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) = 1 then format('A row is named by its key, %s.', min(k.words))
                else format('A row is named by its key as a JSON object: %s.',
                            string_agg(k.words, ', ' order by k.nth)) end
    from (select c.nth, format('%s (%s)', c.name, format_type(a.atttypid, a.atttypmod)) as words
          from unnest(pipeline.key_columns) with ordinality as c(name, nth)
          join pg_attribute a on a.attrelid = pipeline.source and a.attname = c.name) k
$$;

create or replace function pgembedd._refuse_dead(pipeline pgembedd.pipeline, key jsonb) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    letter pgembedd.dead_letter;
begin
    select d.* into letter from dead_letter d
    where d.pipeline_id = pipeline.id and (d.key = _refuse_dead.key or d.key #>> '{}' = _refuse_dead.key #>> '{}')
    order by d.died_at desc limit 1;
    if letter.id is not null then
        raise exception 'The row % of the pipeline "%" was given up (%): %', key, pipeline.name, letter.reason,
            letter.error
            using errcode = 'object_not_in_prerequisite_state', hint = format(
                'See pgembedd.failures; when the cause is gone, call pgembedd.retry_failed(%L).', pipeline.name);
    end if;
end $$;
