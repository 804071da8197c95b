create or replace function pgembedd.grant_operator(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'operator');
begin
end $$;
comment on function pgembedd.grant_operator is
    'Let a role see status, history and dead letters, search, and retry dead letters, whose errors may hold content.';

create or replace function pgembedd.revoke_operator(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'operator');
begin
end $$;
comment on function pgembedd.revoke_operator is
    'Take back what grant_operator() gave, with the right to search.';

create or replace function pgembedd_internal._operator_privileges() returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select 'select on pipelines, pipeline, model, provider_use, status, dead_letters, truncated, answer_options'
    union all
    select format('execute on routine %s', f.oid::regprocedure) from pg_proc f
    where f.pronamespace = any (_schemas())
      and f.proname in ('history', 'metrics', 'retry_dead_letters', 'schema_version', 'events', 'workers', '_shown',
                        '_statuses', '_coverage_of', '_shown_pipeline', '_state_now', 'pipeline_definition')
$$;
