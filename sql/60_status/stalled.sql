-- Due work that does not move. A pipeline that has been running for a minute is stalled where jobs are due, or in a
-- worker's hands, and nothing was stored for a minute; for ten minutes, as long as a worker that answers is at them: it
-- holds some, loads their model, or stores rows of other pipelines, which go first for a while. Ten minutes are also
-- the longest that a worker leaves a pipeline out (loop/fair_share.py). Jobs that failed and wait for another attempt
-- are not due.

-- The sentence that says so, with the cause where it is known; null where the pipeline is not stalled. `due`, `leased`,
-- `due_since` and `why` are what _queued says of both lanes, `stored_at` when rows were stored in the last minutes.
create or replace function pgembedd_internal._stalled(
    one pgembedd_internal.pipeline, due numeric, leased numeric, due_since timestamptz, why text, stored_at timestamptz
) returns text
language plpgsql stable  -- as is _shown_state
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    at_present timestamptz := clock_timestamp();
    since timestamptz := greatest(due_since, stored_at, one.state_since);
    cause text;
begin
    if coalesce(due, 0) = 0 or since > at_present - interval '1 min' or _shown_state(one) <> 'running' then
        return null;
    end if;
    since := coalesce((select max(a.at) from activity a where a.pipeline_id = one.id and a.at > due_since), since);
    cause := coalesce(_blocked(one), _no_worker(),
                      'Workers gave them back, the last time for: ' || why || '.');
    if cause is null and since > at_present - interval '10 min' and (leased > 0 or _is_attended(one.id)) then
        return null;
    end if;
    return format('%s due, and none was stored for %s. %s', _counted(due::bigint, 'job is', 'jobs are'),
        _age(at_present - since), coalesce(cause, _at_work(one.id)));
end $$;

-- Why no worker can have done anything, or null: one that works only what is pushed may have nothing to do.
create or replace function pgembedd_internal._no_worker() returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when _silent_workers() is not null
                    then format('No worker that claims jobs answers: %s.', _silent_workers())
                when a.takes_pushes then null
                when exists (select from push) then 'No worker is connected, and no service has taken a pushed job.'
                else 'No worker is connected: start one with `pgembedd run`.' end
    from (select bool_or('claim' = any (w.tasks)) as claims, bool_or('push' = any (w.tasks)) as takes_pushes
          from workers() w where w.answers) a
    where a.claims is not true
$$;

-- Whether a worker that answers is at a pipeline, or at others.
create or replace function pgembedd_internal._is_attended(pipeline_id integer) returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from workers() w where w.answers and $1 = any (w.busy_with))
        or _is_stored()
$$;

-- Whether rows of any pipeline were stored within a minute.
create or replace function pgembedd_internal._is_stored() returns boolean
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select exists (select from activity a where a.at > clock_timestamp() - interval '1 min') $$;

-- What the workers do that answer.
create or replace function pgembedd_internal._at_work(pipeline_id integer) returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select concat_ws(' ', case
        when at_it.workers is not null then format('A worker works on them, or loads their model: %s.', at_it.workers)
        when _is_stored() then 'The workers are busy with other pipelines.'
        else 'Workers answer and take none of them: they serve other pipelines, work only what is pushed, or leave '
             'this one out for a while.' end,
        'Another worker does not answer: ' || _silent_workers() || '.')
    from (select string_agg(w.place, ', ') from workers() w
          where w.answers and $1 = any (w.busy_with)) as at_it(workers)
$$;
