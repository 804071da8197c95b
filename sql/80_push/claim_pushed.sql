-- Push mode: pg_cron and pg_net post jobs to a worker's HTTP endpoint, as in Supabase's guide to automatic embeddings.
-- A posted job names a message (jobId, and with ours its queue and its read_ct) and repeats its content. What is posted
-- is not trusted: it only selects a message, and is compared with it. The worker takes the message over with a read of
-- its own, so the previous reader no longer holds the fence.
--
-- In a message's headers, beside those of 10_queue/headers.sql:
--   sent   the read_ct of the last read that was made to be posted; it is a deferral already
--   taken  the read_ct of the last read by a worker that was posted to

-- Claims jobs that were posted to this worker. The rows without `n` are jobs to be worked, as claim() gives them; the
-- others say, for each that was posted, what it is: claimed, done (there is no such message any more), or failed, with
-- the reason in a sentence.
create or replace function pgembedd.claim_pushed(jobs jsonb, lease_s integer)
returns table (
    n bigint, state text, reason text, queue text, msg_id bigint, read_ct integer, id jsonb, pipeline_id integer,
    pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean,
    chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision,
    attempt integer)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
    ours text[] := array(
        select a.queue from (select l.queue from lanes() l union select l.backfill_queue from lanes() l) a
        where to_regclass(_queue_table(a.queue)) is not null);
    lane record;
    msg_ids bigint[];
    read_cts integer[];
    messages jsonb[];
    notes jsonb[];
    enqueued timestamptz[];
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        perform _refuse('The jobs are not an array.', 'Post what process_embeddings() posts.');
    end if;
    for lane in
        select p.queue as name, jsonb_agg(p.job order by p.n) as jobs, array_agg(p.n order by p.n) as ns
        from _posted(jobs) p where p.problem is null and p.queue = any (ours) group by p.queue order by p.queue
    loop
        select array_agg(t.msg_id), array_agg(t.read_ct), array_agg(t.message), array_agg(t.headers),
               array_agg(t.enqueued_at)
        into msg_ids, read_cts, messages, notes, enqueued from _take_pushed(lane.name, lane.jobs, lease_s) t;
        return query
            select null::bigint, 'claimed', null, lane.name, a.*
            from _admit(lane.name, msg_ids, read_cts, messages, notes, enqueued) a;
        return query
            select lane.ns[p.n], w.state, w.reason, lane.name, j.*
            from _posted(lane.jobs) p cross join lateral _unclaimed(p.msg_id) j
            cross join lateral _pushed_state(lane.name, p.msg_id, p.job, coalesce(p.msg_id = any (msg_ids), false)) w;
    end loop;
    return query
        select p.n, 'failed', coalesce(p.problem, 'No pipeline has a queue of this name.'), p.queue, j.*
        from _posted(jobs) p cross join lateral _unclaimed(p.msg_id) j
        where p.problem is not null or p.queue <> all (ours);
end $$;

-- A job of which only the message is known.
create or replace function pgembedd._unclaimed(msg_id bigint) returns pgembedd.job
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select jsonb_populate_record(null::pgembedd.job, jsonb_build_object('msg_id', msg_id)) $$;

create or replace function pgembedd._whole_number(value jsonb, most numeric) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(value) = 'number' then
        case when value::numeric between 0 and most and value::numeric = trunc(value::numeric)
             then value::numeric::bigint end end
$$;

-- The jobs that were posted, in their order; `problem` for what is no job.
create or replace function pgembedd._posted(jobs jsonb)
returns table (n bigint, job jsonb, queue text, msg_id bigint, read_ct integer, problem text)
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select j.n, j.job, coalesce(j.job ->> 'queue', 'embedding_jobs'),
           _whole_number(j.job -> 'jobId', 9223372036854775807),
           case when coalesce(j.job -> 'readCt', 'null') <> 'null'
                then coalesce(_whole_number(j.job -> 'readCt', 2147483647), -1)::integer end,
           case when _whole_number(j.job -> 'jobId', 9223372036854775807) is null
                then 'This is no job: it has no jobId, or one that is no whole number.' end
    from jsonb_array_elements(jobs) with ordinality as j(job, n)
$$;

-- True if a posted job is the message: the same row, and no given field differs.
create or replace function pgembedd._matches_message(posted jsonb, message jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select posted -> 'id' is not distinct from message -> 'id' and not exists (
        select from unnest('{schema,table,contentFunction,embeddingColumn,pipeline}'::text[]) as f(name)
        where posted ->> f.name is not null and posted -> f.name is distinct from message -> f.name)
$$;

-- Reads the posted messages. One under a lease is taken from the read that posted it, where that cannot be another's
-- claim: not with another read_ct than was posted; not while another request works on it; not when it has an outcome
-- and waits for the next attempt. What is left is a lease whose holder is unknown, since the guide's jobs do not say:
-- were it a worker's, that worker would find its fence gone, and nothing be done twice.
create or replace function pgembedd._take_pushed(queue text, jobs jsonb, lease_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q
        where q.msg_id = any ($2) and q.vt < 'infinity'
          and (q.vt <= clock_timestamp() or q.read_ct > 0 and q.read_ct not in (
               pgembedd._note(q.headers, 'answered'), pgembedd._note(q.headers, 'taken')))
          and exists (select from pgembedd._posted($3) p
                      where p.msg_id = q.msg_id and coalesce(p.read_ct, q.read_ct) = q.read_ct
                        and pgembedd._matches_message(p.job, q.message))
        order by q.msg_id for update skip locked
        $q$, _queue_table(queue)),
        -- No worker died of the reads in between: they were made to be posted.
        $q$, headers = pgembedd._with_notes(m.headers, jsonb_build_object('taken', m.read_ct + 1, 'deferrals',
            pgembedd._note(m.headers, 'deferrals') + greatest(0, least(
                m.read_ct - pgembedd._note(m.headers, 'attempts') - pgembedd._note(m.headers, 'deferrals'),
                m.read_ct - greatest(pgembedd._note(m.headers, 'answered'), pgembedd._note(m.headers, 'sent'),
                                     pgembedd._note(m.headers, 'taken'))))))$q$)
    using make_interval(secs => lease_s), array(select p.msg_id from _posted(jobs) p where p.msg_id is not null), jobs;
end $$;

-- The state of a posted message after the claim; `taken`: it was claimed for this request.
create or replace function pgembedd._pushed_state(
    queue text, msg_id bigint, posted jsonb, taken boolean, out state text, out reason text
)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one record;
begin
    execute format('select q.vt, q.read_ct, q.message, q.headers from %s q where q.msg_id = $1', _queue_table(queue))
        into one using msg_id;
    state := 'failed';
    if one.vt is null then
        if exists (select from dead_letter d where d.queue = _pushed_state.queue and d.key is not distinct
                   from posted -> 'id'
                   and _matches_message(posted, d.message)) then
            reason := 'It was given up: see pgembedd.failures.';
        else
            state := 'done';  -- it was done, or its pipeline was dropped
        end if;
    elsif not _matches_message(posted, one.message) then
        reason := 'The message of this jobId is about something else than what was posted.';
    elsif one.vt = 'infinity' then
        reason := 'Its pipeline does not run; the job waits in the queue for pgembedd.resume().';
    elsif _note(one.headers, 'answered') = one.read_ct and one.read_ct > 0 then
        reason := 'It waits in the queue for its next attempt.';
    elsif taken then
        state := 'claimed';
    elsif one.read_ct = 0 then
        reason := 'It is not due yet.';
    else
        reason := 'Another request or worker has claimed it.';
    end if;
end $$;
