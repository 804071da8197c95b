-- Queues the rows whose files were looked at a recheck_interval ago, fetched or not: a file that could not be fetched
-- may be there by now. A dead letter stays until then. Of objects the listing says which have changed.
-- Those that have a job are left out, so each is queued once.
create or replace function pgembedd_internal._enqueue_due_files(
    pipeline pgembedd_internal.pipeline, at_most bigint
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pipeline.recheck_interval is null then return 0; end if;
    return _enqueue_once(pipeline, _render($q$
        (select c.key as id, row_number() over (order by max(c.at)) as n
         from (select f.key, f.checked_at as at from pgembedd_internal.fetched_file f
               where f.pipeline_id = {id} and not {listed} and f.checked_at <= clock_timestamp() - {interval}::interval
               union all
               select d.key, d.died_at from pgembedd_internal.dead_letter d
               where d.pipeline_id = {id} and d.key is not null) c
         group by c.key having max(c.at) <= clock_timestamp() - {interval}::interval) k$q$, jsonb_build_object(
        'id', pipeline.id, 'interval', quote_literal(pipeline.recheck_interval),
        'listed', pipeline.objects_uri is not null)), at_most => at_most);
end $$;
