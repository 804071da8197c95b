create or replace function pgembedd.grant_operator(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    function regprocedure;
begin
    perform _check_role(role);
    execute format('grant usage on schema pgembedd to %s', role);
    perform grant_search(role);  -- what it finds is what it may read
    execute format('grant select on pipeline, model, failures, truncated to %s', role);
    for function in
        select f.oid::regprocedure from pg_proc f
        where f.pronamespace = 'pgembedd'::regnamespace
          and f.proname in ('overview', 'history', 'metrics', 'retry_failed', 'schema_version', 'events',
                            'workers', '_shown')
    loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end $$;
comment on function pgembedd.grant_operator is
    'Let a role see status, history and failures, search, and put dead letters back. Failures may hold content.';
