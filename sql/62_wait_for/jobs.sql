-- The latest job of a pipeline, in the fresh lane if it has one there; no row when nothing is queued. Read from the end
-- of the queue, which is worked last: after that job most of the others are done. 0 for a backfill that goes on.
create or replace function pgembedd_internal._last_job(
    pipeline pgembedd_internal.pipeline
) returns table (lane text, msg_id bigint)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if _is_backfilling(pipeline.id) then
        lane := 'pgembedd_backfill'; msg_id := 0; return next; return;
    end if;
    foreach lane in array _queues() loop
        execute format('select q.msg_id from %s q where %s order by q.msg_id desc limit 1', _queue_table(lane),
            _is_for(pipeline.id))
        into msg_id;
        if msg_id is not null then return next; return; end if;
    end loop;
end $$;

create or replace function pgembedd_internal._job_count(pipeline pgembedd_internal.pipeline) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    lane text;
    jobs bigint;
    total bigint := coalesce((select b.rows_left from open_backfill b where b.pipeline_id = pipeline.id), 0);
begin
    foreach lane in array _queues() loop
        execute format('select count(*) from %s q where %s', _queue_table(lane), _is_for(pipeline.id)) into jobs;
        total := total + jobs;
    end loop;
    return total;
end $$;

create or replace function pgembedd_internal._any_queued(queue text, msg_ids bigint[]) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    there boolean := false;
begin
    if cardinality(msg_ids) > 0 then
        execute format('select exists (select from %s q where q.msg_id = any ($1))', _queue_table(queue)) into there
            using msg_ids;
    end if;
    return there;
end $$;

create or replace function pgembedd_internal._check_wait(timeout interval) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pg_current_xact_id_if_assigned() is not null then
        raise exception 'A wait in a transaction that has written would never end: no worker sees its rows yet.'
            using errcode = 'active_sql_transaction', hint = 'COMMIT first.';
    elsif timeout is null then
        raise exception using message = 'The timeout is NULL: the wait would never end.',
            hint = 'Give an interval, for example ''1 minute''.', errcode = 'null_value_not_allowed';
    end if;
end $$;
