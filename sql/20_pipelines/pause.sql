create or replace function pgembedd.pause(pipeline text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    found_one pgembedd_internal.pipeline := _pipeline(pipeline);
begin
    update pipeline p set state = 'paused', state_reason = 'paused by ' || current_user, state_since = clock_timestamp()
    where p.id = found_one.id;
    perform _notify('paused', found_one.id);
end $$;
comment on function pgembedd.pause is 'Keep enqueueing, stop embedding. What is in flight is finished.';
