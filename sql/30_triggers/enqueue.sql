-- The INSERT that enqueues: pgmq.send_batch takes an array, which has a limit that would abort the user's statement; a
-- plain INSERT has none and is the cheapest for one row, too. `rows` is a FROM item, `key` its key.
create or replace function pgembedd_internal._enqueue(
    pipeline pgembedd_internal.pipeline, queue text, key text, rows text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    -- jsonb_set into one value is the cheapest way to make 100,000 messages that differ in their key. A backfill
    -- belongs to no trace.
    select format($q$insert into %s (vt, message)
            select clock_timestamp(), pg_catalog.jsonb_set(%s, '{id}', %s) from %s$q$, _queue_table(queue),
        case when queue = 'pgembedd_backfill' then format('%L::jsonb', m)
             when (_upstream(pipeline)).id is not null then _dated_message(m) else _traced_message(m) end, key, rows)
    from jsonb_build_object('id', 0, 'pipeline', pipeline.id) m
$$;

-- The statements by which a trigger queues rows, wakes a worker that sleeps, and sets `found`. Where the queue is
-- missing, or our triggers may not write to it, they note the rows, and the sweep queues them: a database restored
-- without its queues, or with queues that were made again by hand, must still take writes. A schema that they may not
-- use would be an error: other roles have rights on it, with which a restore may lose those of ours. Of files it wakes
-- one that works as well: those that parse sleep beside those that embed.
create or replace function pgembedd_internal._enqueue_or_note(
    pipeline pgembedd_internal.pipeline, queue text, key text, rows text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($body$
    if (case when has_schema_privilege(to_regnamespace('pgmq'), 'usage')
             then has_table_privilege(to_regclass({queue_table}), 'insert') end)
    then
        {enqueue};
        if found{if_idle} then
            perform pg_notify('pgembedd', {queue});
        end if;
    else
        insert into pgembedd_code.missed (pipeline_id, key) select {id}, {key} from {rows};
    end if;$body$, jsonb_build_object(
        'queue_table', quote_literal(_queue_table(queue)), 'enqueue', _enqueue(pipeline, queue, key, rows),
        'queue', quote_literal(queue), 'id', pipeline.id, 'key', key, 'rows', rows,
        'if_idle', case pipeline.task when 'embed'
                                      then ' and (select last_value from pgembedd_code.worker_idle) = 1' end))
$$;

-- Queues rows in the backfill lane, and wakes a worker. `keys` is a FROM item of their keys, in which $1 is `given`.
-- Returns how many.
create or replace function pgembedd_internal._enqueue_rows(
    pipeline pgembedd_internal.pipeline, keys text, given jsonb default null
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    queued bigint;
begin
    execute _enqueue(pipeline, 'pgembedd_backfill', 'k.id', keys || ' as k(id)') using given;
    get diagnostics queued = row_count;
    perform pgembedd_internal._check_session();
    if queued > 0 then perform _wake('pgembedd_backfill'); end if;
    return queued;
end $$;

-- Queues the rows that changed while their queue was missing. Returns how many.
create or replace function pgembedd_internal._enqueue_missed(pipeline pgembedd_internal.pipeline) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    keys jsonb;
begin
    with taken as (delete from missed m where m.pipeline_id = pipeline.id returning m.key)
    select jsonb_agg(distinct t.key) into keys from taken t;
    return case when keys is null then 0
                else _enqueue_rows(pipeline, 'jsonb_array_elements($1)', keys) end;
end $$;

-- A transition table as a FROM item: the columns that our code names, and null in the place of one that was renamed or
-- dropped since, because a writer must not fail of it. A name that the inner SELECT does not find among the table's
-- columns is looked for outside of it, among the nulls; the planner reduces all this to the scan. A row without its key
-- cannot be named, and is left out (IS NOT NULL would leave out some values of composite types, too).
create or replace function pgembedd_internal._transition_rows(
    pipeline pgembedd_internal.pipeline, transition text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with named as (
        -- Not of a domain, whose check would run for the null, nor of another type of a user's: see _trigger_key_match.
        select d.c as name, case when k.base < 16384 then '::' || _qualified_type(k.base) else '' end as type
        from (select distinct c
              from unnest(pipeline.key_columns || pipeline.watch_columns || pipeline.embedding_column) as c) d
        left join _key_columns(pipeline.source) k on k.name = d.c
        where d.c is not null)
    select format('(select v.* from (select %s) f cross join %I r
                    cross join lateral (select %s from (select r.*) x) v where %s)',
        string_agg(format('null%s as %I', type, name), ', ' order by name), transition,
        string_agg(quote_ident(name), ', ' order by name),
        (select string_agg(format('v.%I is distinct from null', k), ' and ') from unnest(pipeline.key_columns) as k))
    from named
$$;
