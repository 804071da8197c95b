-- What keeps a database in order without anybody asking: pg_cron calls tick() where there is pg_cron, and every
-- worker calls it on its own timer. Whoever comes first does the work; one at a time, by advisory lock.

-- Find rows without a vector that nobody queued: triggers were off, a dump was restored, a partition attached.
-- A long queue is worked before it is searched for what it lacks, but at the latest after ten minutes.
-- Looking for rows without chunks reads the whole table, so the upkeep asks for `only_due`: a pipeline is due again
-- after a hundred times as long as its last sweep took.
create or replace function pgembedd.sweep(at_most bigint default 10000, only_due boolean default false) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd.pipeline;
    swept bigint := 0;
    problem text;
    began timestamptz;
begin
    if at_most is null or at_most < 0 then
        perform _refuse(format('The sweep cannot queue %s rows.', coalesce(at_most::text, 'NULL')), 'at_most is 0 or more.');
    end if;
    perform _mirror_all_rights();
    for one in
        select p.* from pipeline p
        where p.state = 'running' and (not only_due or p.sweep_due_at <= clock_timestamp()) order by p.id
    loop
        begin
            began := clock_timestamp();
            problem := _follow(one);
            if problem is not null and problem <> 'followed' then
                perform stop_pipeline(one.id, problem);
                continue;
            end if;
            select p.* into one from pipeline p where p.id = one.id;
            -- Writers queue behind whoever waits to create a trigger, so that must not be long.
            perform set_config('lock_timeout', '100ms', true), _attach(one), set_config('lock_timeout', '2s', true);
            if one.own_triggers then perform _note_triggers(one); end if;
            -- A claim that set jobs aside while the pipeline was being resumed would leave them there.
            perform _unpark(one.queue, one.id), _unpark(one.backfill_queue, one.id);
            swept := swept + case when _swept(one) then _backfill(one, false, at_most) else 0 end;
            if clock_timestamp() - began > interval '0.5 s' or one.sweep_due_at > '-infinity' then
                update pipeline p set sweep_due_at = clock_timestamp() + 100 * (clock_timestamp() - began) where p.id = one.id;
            end if;
        exception
            -- Somebody alters the table, or the server is short of something: the next sweep comes.
            when lock_not_available or transaction_rollback or insufficient_resources then null;
            when others then  -- whatever it is, it is this pipeline's alone
                perform _stop(one.id, format('The sweep failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name),
                    'The sweep failed; pgembedd.status says of what.');
        end;
    end loop;
    return swept;
end $$;

comment on function pgembedd.sweep is
    'Queue, in every running pipeline, the rows without a vector that nobody queued; at most so many each. Returns how many.';

-- Drop what nobody will ask for again: activity and samples over a day old, and exceptions of rows that are gone.
create or replace function pgembedd.retention() returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd.pipeline;
    keys jsonb[];
    gone jsonb[];
    dropped bigint;
    total bigint;
begin
    delete from activity a where a.at < clock_timestamp() - interval '1 day';
    get diagnostics total = row_count;
    delete from sample s where s.at < clock_timestamp() - interval '1 day';
    for one in select p.* from pipeline p where p.state = 'running' order by p.id loop
        begin
            if one.embedding_table is not null then
                -- Rows that went in a way that no trigger saw, or whose deleter could not see the newest chunks.
                execute format('select %s()', _pipeline_function(one.id, 'tidy'));
            end if;
            for keys in
                select array_agg(b.key) from (
                    select r.key, row_number() over () / 10000 as batch from row_state r where r.pipeline_id = one.id) b group by b.batch
            loop
                execute format('select array(select g from %s($1) g)', _pipeline_function(one.id, 'gone')) into gone using keys;
                delete from row_state r where r.pipeline_id = one.id and r.key = any (gone);
                get diagnostics dropped = row_count;
                delete from dead_letter d where d.pipeline_id = one.id and d.key = any (gone);
                total := total + dropped;
            end loop;
        exception when others then  -- a lock, a dropped table
            raise warning 'retention left out the pipeline "%": %', one.name, sqlerrm;
        end;
    end loop;
    return total;
end $$;

comment on function pgembedd.retention is
    'Forget activity over a day old, and what is noted about rows that are gone. Returns how much.';

-- Sweep and retention, each when it is due. Null when there was nothing to do or somebody else is at it.
create or replace function pgembedd.tick(sweep_every_s double precision default 60, retention_every_s double precision default 3600)
returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    state pgembedd.installation;
    swept bigint;
    indexes_due boolean;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('pgembedd.tick', 0)) then return null; end if;
    perform _forget_questions();
    select i.* into state from installation i;
    if state.sample_due_at <= clock_timestamp() then
        perform _take_sample();
    end if;
    if state.swept_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
       and (state.swept_at + interval '10 minutes' <= clock_timestamp() or not _deep(50000)) then
        swept := sweep(only_due => true);
        update installation set swept_at = clock_timestamp();
    end if;
    indexes_due := state.indexes_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
        or state.indexes_at < (select max(p.created_at) from pipeline p);
    if indexes_due then
        perform _tend_indexes();
        update installation set indexes_at = clock_timestamp();
    end if;
    if state.retained_at + make_interval(secs => retention_every_s) <= clock_timestamp() then
        perform retention();
        update installation set retained_at = clock_timestamp();
    end if;
    if indexes_due then
        perform _tend_queues();  -- last, since its lock on a queue is held till the end
    end if;
    return swept;
end $$;

create or replace function pgembedd._deep(threshold integer) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    queue text;
    depth bigint;
begin
    for queue in select l.queue from lanes() l union select l.backfill_queue from lanes() l loop
        continue when to_regclass(_queue_table(queue)) is null;
        execute format('select count(*) from (select from %s limit %s) q', _queue_table(queue), threshold) into depth;
        if depth >= threshold then return true; end if;
    end loop;
    return false;
end $$;
