-- Returns how long the jobs that are done had waited, on average: each from the change of its row, or of what another
-- pipeline made that row of.
create or replace function pgembedd_internal._acknowledge(
    queue text, msg_ids bigint[], outcomes text[]
) returns interval
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off set plan_cache_mode = force_generic_plan  -- as in _lock_jobs
as $$
declare
    lag interval;
    done bigint[];
    gone bigint[];
begin
    select array_agg(o.msg_id), array_agg(o.msg_id) filter (where o.outcome = 'gone') into done, gone
    from unnest(msg_ids, outcomes) as o(msg_id, outcome)
    where o.outcome in ('written', 'unchanged', 'cleared', 'gone');
    if queue = 'pgembedd_fresh' then
        with deleted as (delete from pgmq.q_pgembedd_fresh q where q.msg_id = any (done) returning q.*)
        select avg(clock_timestamp() - case when d.message ? 'pgembedd'  -- the usual message gets by without a call
                                            then _changed_at(d.message, d.enqueued_at) else d.enqueued_at end)
               filter (where d.msg_id not in (select unnest(gone))) into lag from deleted d;
    else
        with deleted as (delete from pgmq.q_pgembedd_backfill q where q.msg_id = any (done) returning q.*)
        select avg(clock_timestamp() - case when d.message ? 'pgembedd'  -- the usual message gets by without a call
                                            then _changed_at(d.message, d.enqueued_at) else d.enqueued_at end)
               filter (where d.msg_id not in (select unnest(gone))) into lag from deleted d;
    end if;
    if outcomes && array['changed', 'rewritten', 'locked'] then
        perform _release_unwritten(queue, msg_ids, outcomes);
    end if;
    return lag;
end $$;

-- Releases jobs that were not done for another read.
create or replace function pgembedd_internal._release_unwritten(
    queue text, msg_ids bigint[], outcomes text[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    -- A row that stays locked is looked at ever less often, up to once a minute.
    execute format($q$
        update %s q set
            vt = clock_timestamp() + case o.outcome when 'locked'
                then pgembedd_internal._backoff(pgembedd_internal._note(q.message, 'deferrals') + 1,
                                                '250 ms', '1 min')
                -- Content that is never twice the same, because it holds the time or a random number.
                when 'changed' then case when pgembedd_internal._note(q.message, 'changed') >= 3
                    then pgembedd_internal._backoff(pgembedd_internal._note(q.message, 'changed') - 2,
                                                    '250 ms', '1 min') else '0' end
                else '0' end,
            message = pgembedd_internal._with_notes(q.message, jsonb_build_object(
                'deferrals', pgembedd_internal._note(q.message, 'deferrals') + 1, 'alone', 0, 'answered', q.read_ct,
                'why', case o.outcome when 'locked' then 'their rows are locked by another transaction' end,
                'changed', case o.outcome when 'changed' then pgembedd_internal._note(q.message, 'changed') + 1
                                else 0 end,
                'rewritten', case o.outcome when 'rewritten'
                                  then pgembedd_internal._note(q.message, 'rewritten') + 1 else 0 end))
        from unnest($1, $2) as o(msg_id, outcome)
        where q.msg_id = any ($1) and q.msg_id = o.msg_id and o.outcome in ('changed', 'rewritten', 'locked')
        $q$, _queue_table(queue)) using msg_ids, outcomes;
end $$;

-- Deletes what is noted of rows as exceptions; returns of how many.
create or replace function pgembedd_internal._forget_exceptions(pipeline_id integer, keys jsonb[]) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- Where the exceptions are another pipeline's, a scan of all of them would look like the shortest way to the first.
set enable_seqscan = off
as $$
declare
    forgotten bigint := 0;
begin
    -- By the hash the index finds a key; no key is looked for where the pipeline has none.
    if exists (select from row_state r where r.pipeline_id = $1) then
        delete from row_state r using unnest(keys) as k(key)
        where r.pipeline_id = $1 and r.key = k.key and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(k.key, 0);
        get diagnostics forgotten = row_count;
    end if;
    if exists (select from dead_letter d where d.pipeline_id = $1) then
        delete from dead_letter d using unnest(keys) as k(key)
        where d.pipeline_id = $1 and d.key = k.key and jsonb_hash_extended(d.key, 0) = jsonb_hash_extended(k.key, 0);
    end if;
    return forgotten;
end $$;

-- row_state holds exceptions only: a success removes what was there.
create or replace function pgembedd_internal._record_outcomes(
    pipeline_id integer, keys jsonb[], outcomes text[], blank boolean[], dropped integer[], lag interval,
    recalled integer
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    perform _forget_exceptions(_record_outcomes.pipeline_id, array(
        select o.key from unnest(keys, outcomes) as o(key, outcome)
        where o.outcome in ('written', 'unchanged', 'cleared', 'gone')));
    if true = any (_record_outcomes.blank) or 0 < any (_record_outcomes.dropped) then
        insert into row_state (pipeline_id, key, state, dropped_tokens)
        select _record_outcomes.pipeline_id, o.key,
               case when o.blank then 'blank' else 'truncated' end, nullif(o.dropped, 0)
        from unnest(keys, outcomes, blank, dropped) as o(key, outcome, blank, dropped)
        where o.outcome in ('written', 'unchanged', 'cleared') and (o.blank or o.dropped > 0)
        on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
        set state = excluded.state, dropped_tokens = excluded.dropped_tokens, since = excluded.since;
    end if;
    insert into activity (pipeline_id, written, cleared, unchanged, gone, lag, recalled, workers)
    select _record_outcomes.pipeline_id,
           count(*) filter (where o.outcome = 'written'), count(*) filter (where o.outcome = 'cleared'),
           count(*) filter (where o.outcome = 'unchanged'), count(*) filter (where o.outcome = 'gone'), lag,
           _record_outcomes.recalled,
           (select count(*) from worker w
            where w.answered_at > clock_timestamp() - interval '15 s' and w.tasks && '{claim,push}')
    from unnest(outcomes) as o(outcome)
    having count(*) filter (where o.outcome in ('written', 'cleared', 'unchanged', 'gone')) > 0;
end $$;
