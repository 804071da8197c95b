-- Code of a table's owner (its content function, triggers, checks) that does not end within what a worker allows it,
-- PGEMBEDD_OWNER_TIMEOUT_S, holds up all other pipelines of the worker. Its pipeline pauses; then one worker at a time
-- claims one row of it, and allows that a sixteenth of the pause. Each time that this is not enough the pause doubles,
-- so the pipeline takes a sixteenth of the time of one worker at most. Several of them pause as many times as long. In
-- the pipeline:
--   slow_until   no worker claims before: the end of the pause, or of a worker's turn
--   slow_pause   the last pause
--   slow_ends    when all of it is forgotten, unless it was too slow again

-- Notes that a row or a batch was not done within `allowed_s` seconds, where a worker allows `timeout_s`. `tried` says
-- that the worker had the turn; others may be the later ones of several workers that learn of it at once.
create or replace function pgembedd_internal.note_slow(
    pipeline_id integer, allowed_s double precision, timeout_s double precision, tried boolean
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    at_present timestamptz := clock_timestamp();
    longest interval := make_interval(secs => 16 * timeout_s);
    known boolean;
    others bigint := (select count(*) from pipeline p
                      where p.slow_ends > at_present and p.id <> note_slow.pipeline_id);
begin
    select p.* into one from pipeline p where p.id = note_slow.pipeline_id and p.state = 'running'
    for no key update skip locked;
    if one.id is null then return; end if;
    known := coalesce(one.slow_ends > at_present, false);
    if not known then
        one.slow_pause := greatest(make_interval(secs => timeout_s), '4 s');
    elsif tried then
        one.slow_pause := least(2 * one.slow_pause, greatest(longest, '10 min'));
    end if;
    update pipeline p set slow_pause = one.slow_pause, slow_until = at_present + (1 + others) * one.slow_pause,
        slow_ends = at_present + (1 + others) * one.slow_pause + longest, slow_reason = format(
            'Code of the owner of %s did not end within %s s, so its rows are tried one at a time, and ever less '
            'often. Mend its content function, triggers and checks, or allow it more with PGEMBEDD_OWNER_TIMEOUT_S; '
            'then call pgembedd.resume(%L).', one.source_name, round(allowed_s::numeric, 1), one.name)
    where p.id = one.id returning p.* into one;
    if not known then
        perform _notify('unserved', one.id, jsonb_build_object('model', one.model, 'reason', one.slow_reason));
    end if;
end $$;
comment on function pgembedd_internal.note_slow is
    'Note that code of the table''s owner did not end within `allowed_s` seconds: the pipeline pauses.';

-- The pipeline, if it may be claimed from: a slow one, as it is then, by one worker at a time. That has the turn for as
-- long as the last pause was. One whose time as a slow one is over is as any other.
create or replace function pgembedd_internal._take_turn(
    one pgembedd_internal.pipeline
) returns setof pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    at_present timestamptz := clock_timestamp();
begin
    if one.slow_until is null then
        return next one;
        return;
    end if;
    select p.* into one from pipeline p where p.id = one.id and least(p.slow_until, p.slow_ends) <= at_present
    for no key update skip locked;
    if one.slow_ends <= at_present then
        one.slow_pause := null; one.slow_ends := null; one.slow_reason := null;
    end if;
    return query
        update pipeline p set slow_until = at_present + one.slow_pause, slow_pause = one.slow_pause,
            slow_ends = one.slow_ends, slow_reason = one.slow_reason
        where p.id = one.id returning p.*;
end $$;

-- The seconds that a worker allows a row of a slow pipeline; null for others.
create or replace function pgembedd_internal.allowed_s(pipeline_id integer) returns double precision
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select extract(epoch from p.slow_pause)::double precision / 16 from pipeline p where p.id = $1 $$;
comment on function pgembedd_internal.allowed_s is
    'Seconds that code of the owner of a slow pipeline''s table may take for a row: a sixteenth of its '
    'pause. Null for other pipelines.';

-- Ends a worker's turn at a slow pipeline: the row was done, or failed, in time, and the next one may follow.
create or replace function pgembedd_internal.end_turn(pipeline_id integer) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    update pipeline p set slow_until = clock_timestamp()
    where p.id = end_turn.pipeline_id and p.slow_until > clock_timestamp()
$$;
comment on function pgembedd_internal.end_turn is
    'End a worker''s turn at a slow pipeline: the row was done in time, and the next one may be claimed.';

-- True while no worker may claim from it.
create or replace function pgembedd_internal._pauses(pipeline pgembedd_internal.pipeline) returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select coalesce(pipeline.slow_until > clock_timestamp(), false) $$;
