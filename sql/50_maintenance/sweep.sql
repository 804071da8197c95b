-- Queues rows without a vector and without a job: triggers were off, a dump was restored; and all rows of a table whose
-- contents an ALTER changed, and of a partition that was attached. A search for rows without chunks reads the whole
-- table, so maintenance asks for `only_due`: a pipeline is due again after a hundred times as long as its last sweep
-- took.
create or replace function pgembedd.sweep(
    at_most bigint default 10000, only_due boolean default false, within_s double precision default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set row_security = off
set lock_timeout = '2s'
as $$
declare
    ends timestamptz;
    one pgembedd_internal.pipeline;
    done integer[] := '{}';
    swept bigint := 0;
begin
    if at_most is null or at_most < 0 then
        raise exception using message = format('The sweep cannot queue %s rows.', coalesce(at_most::text, 'NULL')),
            hint = 'at_most is 0 or more.', errcode = 'invalid_parameter_value';
    elsif within_s not between 0 and 86400 then
        raise exception using message = format('The sweep cannot stop after %s seconds.', within_s),
            hint = 'within_s is 0 to 86400, or null for a sweep of all.', errcode = 'invalid_parameter_value';
    end if;
    ends := clock_timestamp() + make_interval(secs => within_s);
    perform _upkeep('_open_queues()'), _upkeep('_mirror_all_rights()'), _upkeep('_resume_mended()');
    for one in
        select p.* from pipeline p
        where p.state = 'running'
          and (only_due is not true or p.sweep_due_at <= clock_timestamp() and not _without_upkeep(p))
        order by p.sweep_due_at, p.id
    loop
        -- A thousand pipelines at most, as it holds locks on the tables of each until it commits, and a server has
        -- room for about 8,000 by default.
        if clock_timestamp() > ends and done <> '{}' or ends is not null and cardinality(done) >= 1000 then
            -- The others are first next time.
            update pipeline p set sweep_due_at = greatest(p.sweep_due_at, clock_timestamp()) where p.id = any (done);
            exit;
        end if;
        perform _upkeep_at(one.id);
        swept := swept + _sweep_apart(one, at_most);
        done := done || one.id;
    end loop;
    return swept;
end $$;
comment on function pgembedd.sweep is
    'Queue, in every running pipeline, the rows without a vector and without a job; at most so many each. '
    'After `within_s`, or 1,000 pipelines with it, it stops, and the next call goes on. Returns how many.';

-- The sweep of a pipeline, whose failure is noted, and is no other pipeline's.
create or replace function pgembedd_internal._sweep_apart(one pgembedd_internal.pipeline, at_most bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    swept bigint;
begin
    swept := _sweep(one, at_most);
    if one.sweep_error is not null then
        update pipeline p set sweep_error = null where p.id = one.id;
    end if;
    return swept;
exception
    -- The table is being altered, or the server is short of something: the next sweep comes.
    when lock_not_available or transaction_rollback or insufficient_resources then return 0;
    -- Of any kind: it concerns this pipeline alone. A table that is just being altered may be the cause, so only what
    -- is still there at the next sweep stops the pipeline.
    when others then
        if one.sweep_error is null then
            update pipeline p set sweep_error = sqlerrm where p.id = one.id;
        else
            perform _stop(one.id,
                format('The sweep failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name),
                'The sweep failed; pgembedd.status says of what.');
        end if;
        return 0;
end $$;

create or replace function pgembedd_internal._sweep(one pgembedd_internal.pipeline, at_most bigint) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    began timestamptz := clock_timestamp();
    present jsonb := _content_shape(one);
    problem text := _judge(one, _brought_up_to_date(one.id));
    swept bigint := 0;
begin
    if problem is not null and problem <> 'followed' then
        return 0;
    end if;
    select p.* into one from pipeline p where p.id = one.id;
    -- Writers queue behind a session that waits to create a trigger, so that must not be long.
    perform set_config('lock_timeout', '100ms', true), _attach_triggers(one.id),
        set_config('lock_timeout', '2s', true);
    perform _note_triggers(one);
    swept := _enqueue_altered(one, present) + _enqueue_missed(one) + case
        when not _is_backfilling(one.id) then _enqueue_lacking(one, at_most)
        when _has_enough(one.id) then 0
        else coalesce(_continue_backfill(one), 0) end;
    swept := swept + _enqueue_due_files(one, at_most);
    perform _fill_words(one, at_most);
    if clock_timestamp() - began > interval '0.5 s' or one.sweep_due_at > '-infinity' then
        update pipeline p set sweep_due_at = clock_timestamp() + 100 * (clock_timestamp() - began)
        where p.id = one.id;
    end if;
    return swept;
end $$;
