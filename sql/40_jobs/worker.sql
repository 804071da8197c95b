-- Records that a worker goes to sleep (true) or is busy (false), in the sequence worker_idle.
create or replace function pgembedd_internal.set_idle(idle boolean) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if (select last_value from worker_idle) <> idle::integer then
        perform set_config('synchronous_commit', 'off', true);  -- a hint, not worth a flush
        perform setval('pgembedd_internal.worker_idle', idle::integer);
    end if;
end $$;
comment on function pgembedd_internal.set_idle is
    'Ask the triggers to send a NOTIFY on the channel `pgembedd` (true), or not to (false).';

-- The models of the running pipelines that embed, so that a worker can load them before the first job, and whether a
-- worker has noted that it cannot serve the pipeline.
create or replace function pgembedd_internal.models() returns table (
    pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer, noted boolean)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select p.id, p.name, p.model, p.fingerprint, p.dimensions, p.unserved_reason is not null
    from pipeline p where p.state = 'running' and p.task = 'embed' order by p.id
$$;
comment on function pgembedd_internal.models is 'The running pipelines that embed, and the model of each.';

create or replace function pgembedd_internal.parse_pipelines() returns table (
    pipeline_id integer, pipeline text, noted boolean, uri_prefixes text[])
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select p.id, p.name, p.unserved_reason is not null, p.uri_prefixes from pipeline p
    where p.state = 'running' and p.task = 'parse' order by p.id
$$;
comment on function pgembedd_internal.parse_pipelines is
    'The running pipelines that parse files, and whether a worker has noted that it cannot serve each.';

-- Which migration, which sql/ and which interface this database has.
create or replace function pgembedd.schema_version() returns table (revision text, sql_digest text, interface integer)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select (select v.version_num from schema_revision v), i.sql_digest,
           (select substr(f.proargnames[1], 2)::integer from pg_proc f
            where f.pronamespace = 'pgembedd_internal'::regnamespace and f.proname = 'interface')
    from installation i
$$;
comment on function pgembedd.schema_version is
    'The migration, the digest of the functions and the number of the interface in this database.';
