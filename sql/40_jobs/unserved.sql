-- A worker that cannot have the model of a pipeline notes why, and repeats that every minute. A worker that can takes
-- the note back: each looks when it is noted, and every few seconds, so a note is believed three seconds after it was
-- made, at once where no other worker is connected. One that is not repeated for five minutes is not believed any more:
-- its worker is gone. The reason of a worker that tried stands before that of one whose settings lack the model: it
-- says what to correct.

-- Why a running pipeline is not served by any worker, as far as is known; null when nothing is known against it.
create or replace function pgembedd_internal._unserved(pipeline pgembedd_internal.pipeline) returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select pipeline.unserved_reason
    where pipeline.state = 'running' and pipeline.unserved_since <= clock_timestamp() - interval '3 s'
      and pipeline.unserved_at > clock_timestamp() - interval '5 minutes'
$$;

-- The state as it is shown: a running pipeline that no worker can serve, or that pauses as it is slow, is `unserved`;
-- one whose table was dropped is `stopped`.
-- Stable, as is the reason, so that a query of status which leaves them out does not look.
create or replace function pgembedd_internal._shown_state(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when s.now = 'running' and (_pauses(pipeline) or _unserved(pipeline) is not null)
                then 'unserved' else s.now end
    from _state_now(pipeline) as s(now)
$$;

create or replace function pgembedd_internal._shown_reason(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select nullif(concat_ws(' ', _unserved(pipeline),
        case when pipeline.state = 'running' and pipeline.slow_ends > clock_timestamp() then pipeline.slow_reason end,
        case when pipeline.upkeep_after > clock_timestamp() then
            'The upkeep did not end in time in code of its table''s owner, and leaves it out for two hours.' end,
        case when pipeline.state = 'paused'
             then format('%s; call pgembedd.resume(%L) to go on', pipeline.state_reason, pipeline.name)
             when pipeline.state <> _state_now(pipeline) then _problem(pipeline)
             else pipeline.state_reason end,
        case when pipeline.objects_uri is not null then _listing_problem(pipeline) end, (
            select pipeline.requeued_reason
            where pipeline.state = 'running' and pipeline.requeued_at > clock_timestamp() - interval '1 day')), '')
$$;

-- Notes that this worker cannot serve a pipeline; not `tried` says that its settings lack the model. Writes nothing
-- where that was noted within half a minute, or, not tried, where another worker that tried noted its reason within
-- three minutes, or while another transaction holds the pipeline.
create or replace function pgembedd_internal.note_unserved(
    pipeline_id integer, reason text, tried boolean default true, worker integer default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    at_present timestamptz := clock_timestamp();
    since timestamptz := at_present - case when _other_workers(worker) then '0' else '3 s' end::interval;
    was_believed boolean;
begin
    select p.* into one from pipeline p where p.id = note_unserved.pipeline_id and p.state = 'running'
    for no key update skip locked;
    if one.unserved_at > at_present - interval '5 minutes' then
        since := least(since, one.unserved_since);
    end if;
    was_believed := coalesce(since = one.unserved_since and one.unserved_at >= since + interval '3 s', false);
    if one.id is null or (was_believed and one.unserved_reason = reason
                          and one.unserved_at > at_present - interval '30 s')
       or (one.unserved_tried and not tried and one.unserved_at > at_present - interval '3 minutes'
           and _other_workers(worker)) then
        return;
    end if;
    update pipeline p set unserved_reason = reason, unserved_since = since, unserved_at = at_present,
        unserved_tried = tried
    where p.id = one.id;
    if not was_believed then perform pg_notify('pgembedd', 'models'); end if;
    if not was_believed and at_present >= since + interval '3 s' then
        perform _notify('unserved', one.id, jsonb_build_object('model', one.model, 'reason', reason));
    end if;
end $$;
comment on function pgembedd_internal.note_unserved is 'Note a sentence about why this worker cannot serve a pipeline.';

-- Takes the note back: this worker can serve the pipeline; or, not `loaded` yet, it is the only one.
create or replace function pgembedd_internal.note_served(
    pipeline_id integer, loaded boolean default true, worker integer default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
begin
    select p.* into one from pipeline p
    where p.id = note_served.pipeline_id and p.unserved_reason is not null and (loaded or not _other_workers(worker))
    for no key update skip locked;
    update pipeline p set unserved_reason = null, unserved_since = null, unserved_at = null where p.id = one.id;
    if loaded and _unserved(one) is not null then
        perform _notify('served', one.id, jsonb_build_object('model', one.model));
    end if;
end $$;
comment on function pgembedd_internal.note_served is
    'Take back that a pipeline cannot be served, whichever worker noted it.';

-- Whether workers answer besides the one that asks.
create or replace function pgembedd_internal._other_workers(worker integer) returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from workers() w
                   where w.answers and w.tasks && '{claim,push}' and w.id is distinct from worker)
$$;
