-- A problem of a table may be one for a moment only: a column is renamed and renamed back. What is there at the first
-- look is noted in problem_since; what is still there a second later stops the pipeline, and while it is stopped for
-- that, the upkeep looks again. Where problem_since is set, a stopped pipeline goes on by itself.

-- Takes what a look (_follow) found. Returns null or 'followed' as it is, 'altered' for a problem that is new, else the
-- problem, for which the pipeline is stopped by now.
create or replace function pgembedd_internal._judge(one pgembedd_internal.pipeline, problem text) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if problem is null or problem = 'followed' then
        update pipeline p set problem_since = null
        where p.id = one.id and p.state = 'running' and p.problem_since is not null;
        return problem;
    end if;
    update pipeline p set problem_since = clock_timestamp()
    where p.id = one.id and p.state = 'running' and p.problem_since is null;
    if exists (select from pipeline p where p.id = one.id and p.state = 'running'
               and p.problem_since > clock_timestamp() - interval '1 s') then
        return 'altered';
    end if;
    perform _stop_until_mended(one.id, problem);
    return problem;
end $$;

-- Stops a pipeline for what is wrong with its tables.
create or replace function pgembedd_internal._stop_until_mended(pipeline_id integer, reason text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _stop(pipeline_id, reason, reason);
    update pipeline p set problem_since = clock_timestamp()
    where p.id = _stop_until_mended.pipeline_id and p.state = 'stopped' and p.state_reason = reason;
end $$;

-- Resumes the pipelines that were stopped for a problem of their tables which is gone.
create or replace function pgembedd_internal._resume_mended() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
declare
    one pgembedd_internal.pipeline;
begin
    for one in
        select p.* from pipeline p
        where p.state = 'stopped' and p.problem_since is not null and not _without_upkeep(p) order by p.id
    loop
        begin
            perform _upkeep_at(one.id);
            if _remake_mended(one.id) then
                perform _resume(one.id);
            end if;
        exception
            -- Another owner's table, say. It was tried once, and resume() says why.
            when insufficient_privilege then
                update pipeline p set problem_since = null where p.id = one.id;
            -- The table is being altered: the next look comes.
            when others then null;
        end;
    end loop;
end $$;
