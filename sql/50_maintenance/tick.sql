-- Regular maintenance. pg_cron calls tick() where it is installed, and every worker calls it on its own timer. A
-- lock that only our owner can take admits one at a time.

-- Runs sweep and retention, each when it is due. Null when nothing was due or another session does it.
create or replace function pgembedd.tick(
    sweep_every_s double precision default 60, retention_every_s double precision default 3600
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    state pgembedd.installation;
    swept bigint;
    indexes_due boolean;
begin
    select i.* into state from installation i for no key update skip locked;
    if not found then return null; end if;
    perform _open_queues(), _forget_embed_requests(), _forget_answers(), _resume_mended();
    if state.sample_due_at <= clock_timestamp() then
        perform _take_sample();
        delete from event e where e.at < clock_timestamp() - interval '10 minutes';
    end if;
    if state.swept_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
       and (state.swept_at + interval '10 minutes' <= clock_timestamp() or not _queue_longer_than(50000)) then
        swept := sweep(only_due => true);
        update installation set swept_at = clock_timestamp();
    end if;
    perform _sample_words();
    indexes_due := state.indexes_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
        or state.indexes_at < (select max(p.created_at) from pipeline p);
    if indexes_due then
        perform _maintain_indexes();
        update installation set indexes_at = clock_timestamp();
    end if;
    if state.retained_at + make_interval(secs => retention_every_s) <= clock_timestamp() then
        perform retention();
        update installation set retained_at = clock_timestamp();
    end if;
    return swept;
end $$;

create or replace function pgembedd._queue_longer_than(threshold integer) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
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
