-- Regular maintenance. pg_cron calls tick() where it is installed, and every worker calls it on its own timer. A
-- lock that only our owner can take admits one at a time.

-- Runs sweep and retention, each when it is due. Null when nothing was due or another session does it.
create or replace function pgembedd.tick(
    sweep_every_s double precision default 60, retention_every_s double precision default 3600
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    state pgembedd_internal.installation;
    swept bigint;
    indexes_due boolean;
begin
    select i.* into state from installation i for no key update skip locked;
    if not found then return null; end if;
    if _blame() then return null; end if;
    perform set_config('pgembedd.upkeep', 'true', true);
    perform _upkeep('_open_queues()'), _upkeep('_forget_embed_requests()'), _upkeep('_forget_answers()'),
        _upkeep('_resume_mended()'), _upkeep('_read_push_answers()');
    if state.sample_due_at <= clock_timestamp() then
        perform _upkeep('_take_sample()');
        delete from event e where e.at < clock_timestamp() - interval '10 minutes';
    end if;
    if state.swept_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
       and (state.swept_at + interval '10 minutes' <= clock_timestamp() or not _queue_longer_than(50000)) then
        swept := _upkeep('sweep(only_due => true, within_s => 10)');  -- others wait for this lock
        update installation set swept_at = clock_timestamp();
    end if;
    perform _upkeep('_sample_words()');
    indexes_due := state.indexes_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
        or state.indexes_at < (select max(p.created_at) from pipeline p);
    if indexes_due then
        perform _upkeep('_maintain_indexes()');
        update installation set indexes_at = clock_timestamp();
    end if;
    if state.retained_at + make_interval(secs => retention_every_s) <= clock_timestamp() then
        perform _upkeep('retention()');
        update installation set retained_at = clock_timestamp();
    end if;
    perform _upkeep_at(0);
    return swept;
end $$;
comment on function pgembedd.tick is
    'Run the upkeep: sample, sweep and retention, each when due. Returns how many rows the sweep queued.';

-- Notes at which pipeline the upkeep is, before code of its table's owner may run: nothing undoes that, should it be
-- cancelled there.
create or replace function pgembedd_internal._upkeep_at(pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if current_setting('pgembedd.upkeep', true) = 'true' then
        perform setval('pgembedd_internal.upkeep_at', _upkeep_at_none() + pipeline_id);
    end if;
end $$;

-- The note that it is at none, another one after each start of a server: an upkeep that the server's end ended was not
-- cancelled.
create or replace function pgembedd_internal._upkeep_at_none() returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select (extract(epoch from pg_postmaster_start_time()) * 1000)::bigint % 2147483648 * 2147483648 $$;

-- An upkeep that did not come to its end was cancelled in code of the owner of that pipeline's table, which is left out
-- for two hours. True if there was one: the next upkeep follows, as this one is not to be undone as well.
create or replace function pgembedd_internal._blame() returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    update pipeline p set upkeep_after = clock_timestamp() + interval '2 hours'
    where p.id = (select last_value from upkeep_at) - _upkeep_at_none();
    if not found then return false; end if;
    perform setval('pgembedd_internal.upkeep_at', 0);
    return true;
end $$;

-- True for a pipeline that the upkeep leaves out at present.
create or replace function pgembedd_internal._without_upkeep(pipeline pgembedd_internal.pipeline) returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _pauses(pipeline) or coalesce(pipeline.upkeep_after > clock_timestamp(), false) $$;

-- One part of it. What fails, or waits for a lock, keeps no other part from its turn.
create or replace function pgembedd_internal._upkeep(part text) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '2s'
as $$
declare
    done text;
begin
    execute format('select %s.%s', case when starts_with(part, '_') then 'pgembedd_internal' else 'pgembedd' end, part)
    into done;
    return nullif(done, '')::bigint;
exception
    when lock_not_available or transaction_rollback or insufficient_resources then return null;
    when others then
        raise warning 'the upkeep left out %: %', part, sqlerrm;
        return null;
end $$;

create or replace function pgembedd_internal._queue_longer_than(threshold integer) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    queue text;
    depth bigint;
begin
    foreach queue in array _queues() loop
        execute format('select count(*) from (select from %s limit %s) q', _queue_table(queue), threshold) into depth;
        if depth >= threshold then return true; end if;
    end loop;
    return false;
end $$;
