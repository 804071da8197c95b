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
