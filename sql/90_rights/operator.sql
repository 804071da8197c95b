create or replace function pgembedd.grant_operator(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    perform _check_role(role);
    perform grant_search(role);  -- what it finds is what it may read
    execute format('grant select on pipeline, model, dead_letters, truncated to %s', role);
    perform _grant_functions(role, array(
        select f.oid from pg_proc f
        where f.pronamespace = any (_schemas())
          and f.proname in ('overview', 'history', 'metrics', 'retry_dead_letters', 'schema_version', 'events',
                            'workers', '_shown')));
end $$;
comment on function pgembedd.grant_operator is
    'Let a role see status, history and failures, search, and put dead letters back. Failures may hold content.';
