-- Nothing is for PUBLIC. A worker may call what it works with and read nothing; an operator sees, and puts back.

create or replace function pgembedd._worker_functions() returns setof regprocedure
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = 'pgembedd'::regnamespace
      and f.proname in ('claim', 'claim_pushed', 'claim_changed', 'read', 'read_chunks', 'store', 'store_chunks', 'fail', 'extend', 'release', 'mark_alone', 'pin_model', 'diagnose',
                        'stop_pipeline', 'set_idle', 'models', 'lanes', 'tick', 'metrics', 'schema_version', 'hear_questions', 'take_questions',
                        'answer_questions', 'decline_question')
$$;

create or replace function pgembedd.grant_worker(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    function regprocedure;
    vector_schema text := (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    execute format('grant usage on schema pgembedd to %s', role);
    -- To name the vector type it hands over. Mostly PUBLIC has that; what is not granted need not be revoked.
    if not has_schema_privilege(role, vector_schema, 'usage') then
        execute format('grant usage on schema %I to %s', vector_schema, role);
    end if;
    for function in select f from _worker_functions() f loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end $$;
comment on function pgembedd.grant_worker is 'Give a role of yours what a worker needs, and nothing more.';

create or replace function pgembedd.grant_operator(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    function regprocedure;
begin
    execute format('grant usage on schema pgembedd to %s', role);
    -- A search asks `pipeline` where a pipeline's rows and vectors are; the rest is to look at.
    execute format('grant select on pgembedd.pipeline, pgembedd.failures, pgembedd.truncated to %s', role);
    for function in
        select f.oid::regprocedure from pg_proc f
        where f.pronamespace = 'pgembedd'::regnamespace
          and f.proname in ('overview', 'history', 'metrics', 'retry_failed', 'schema_version')
    loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end $$;
comment on function pgembedd.grant_operator is
    'Let a role see status, history and failures, and put dead letters back. Failures may hold content.';

do $$
declare
    function regprocedure;
    role regrole;
begin
    for function in
        select f.oid from pg_proc f where f.pronamespace = 'pgembedd'::regnamespace
        and f.proname not like 'pipeline\_%'
    loop
        execute format('revoke all on routine %s from public', function);
    end loop;
    -- A restore grants on the schema in one go, so to nobody where one role is not there, as embed()'s own never is on
    -- another server. Whoever may call a function was named by one of ours.
    for role in
        select distinct a.grantee::regrole from pg_proc f cross join aclexplode(f.proacl) a
        where f.pronamespace = 'pgembedd'::regnamespace and a.grantee not in (0, f.proowner)
    loop
        execute format('grant usage on schema pgembedd to %s', role);
    end loop;
    if exists (select from pg_roles where rolname = 'pgembedd_worker') then
        perform pgembedd.grant_worker('pgembedd_worker');
    end if;
end $$;
