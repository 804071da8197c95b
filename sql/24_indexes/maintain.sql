-- Maintains outstanding indexes: they become due as soon as the backfill is done, are settled when they are valid, and
-- are left to pg_cron where no worker builds them.
create or replace function pgembedd_internal._maintain_indexes() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd_internal.pipeline;
begin
    for one in
        select p.* from pipeline p where p.index_due_at is not null and _exists(_target(p)) and not _without_upkeep(p)
        order by p.id for update skip locked
    loop
        begin
            perform _upkeep_at(one.id);
            if _index_state(one) = 'valid' then
                update pipeline p set index_due_at = null where p.id = one.id;
                perform _notify('index_built', one.id, jsonb_build_object('index', one.index_name));
            elsif one.index_due_at > clock_timestamp() then
                if one.state = 'running' and _backfilled(one) then
                    update pipeline p set index_due_at = clock_timestamp() where p.id = one.id;
                end if;
            -- A worker that may is quicker, and asks the server for more memory.
            elsif one.index_due_at < clock_timestamp() - interval '5 minutes' then
                perform _schedule_index(one.id);
            end if;
        exception
            when lock_not_available or transaction_rollback then null;  -- it is being built
            when others then raise warning 'the index of the pipeline "%" is left as it is: %', one.name, sqlerrm;
        end;
    end loop;
    perform _unschedule_indexes();
end $$;

-- The first time that nothing of it is queued in the backfill lane, after something was.
create or replace function pgembedd_internal._backfilled(made pgembedd_internal.pipeline) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    done boolean;
begin
    execute format('select not exists (select from pgmq.q_pgembedd_backfill q where %s)', _is_for(made.id)) into done;
    return done and not _is_backfilling(made.id) and _ask_named(made, 'has vectors')::boolean;
end $$;

-- pg_cron runs one statement at a time, as the role that schedules it; what needs no CONCURRENTLY is done here.
create or replace function pgembedd_internal._schedule_index(pipeline_id integer) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
declare
    me oid := quote_ident(current_user)::regrole;
    made pgembedd_internal.pipeline;
    statement text;
begin
    select p.* into made from pipeline p where p.id = pipeline_id;
    if not _has_cron(me) or not _may_index(me, _target(made)) or _problem(made) is not null then return; end if;
    for statement in select _index_statements(made) loop
        if statement like 'create index %' then
            execute 'select cron.schedule($1, $2, $3)'
            using format('pgembedd-index-%s', made.id), '* * * * *', statement;
            return;
        end if;
        execute statement;
    end loop;
end $$;

create or replace function pgembedd_internal._unschedule_indexes() returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on  -- the upkeep has it off, and a policy of pg_cron's shows this role its own jobs
as $$
begin
    if _has_cron(quote_ident(current_user)::regrole::oid) then
        execute $q$
            select cron.unschedule(j.jobid) from cron.job j
            where j.jobname like 'pgembedd-index-%' and j.database = current_database() and not exists (
                select from pgembedd_internal.pipeline p
                where p.index_due_at is not null and j.jobname = format('pgembedd-index-%s', p.id)) $q$;
    end if;
end $$;
