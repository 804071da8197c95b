create or replace function pgembedd.resume(name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
    problem text := _problem(found_one);
begin
    if problem is not null then
        perform _refuse(format('The pipeline "%s" cannot resume: %s', name, problem));
    end if;
    update pipeline p set state = 'running', state_reason = null, state_since = clock_timestamp()
    where p.id = found_one.id returning * into found_one;
    perform _regenerate(found_one), _wake('pgembedd_jobs'), _notify('resumed', found_one.id);
end $$;
comment on function pgembedd.resume is 'Go on after a pause or after what stopped the pipeline has been mended.';
