create or replace function pgembedd_internal.stop_pipeline(pipeline_id integer, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _stop(pipeline_id, reason, reason);
end $$;
comment on function pgembedd_internal.stop_pipeline is 'Stop a running pipeline with a reason, and send an event.';

-- With another reason for the event where ours holds what Postgres said, which may quote a row.
create or replace function pgembedd_internal._stop(pipeline_id integer, reason text, told_reason text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    update pipeline p
    set state = 'stopped', state_reason = reason, state_since = clock_timestamp(), problem_since = null
    where p.id = _stop.pipeline_id and p.state = 'running';
    if found then
        perform _notify('stopped', pipeline_id, jsonb_build_object('reason', told_reason));
    end if;
end $$;
