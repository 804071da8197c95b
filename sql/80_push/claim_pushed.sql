-- Push mode: pg_cron and pg_net post jobs to a worker's HTTP endpoint. A posted job names a message by its queue, its
-- jobId and the readCt with which it was sent, and repeats its row and pipeline. What is posted is not trusted: it only
-- selects a message, and is compared with it. The worker takes the message over with a read of its own, so that the
-- fence of the sender is gone.
--
-- In a message's notes, with those of 10_queue/notes.sql:
--   sent   the read_ct of the last read that was made to be posted; it is a deferral already

-- Claims jobs that were posted to this worker. One row for each that was posted: claimed, with the job; done (there is
-- no such message any more); or failed, with the reason in a sentence.
create or replace function pgembedd_internal.claim_pushed(jobs jsonb, lease_s integer)
returns table (n bigint, state text, reason text, job pgembedd_internal.job)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    claimed pgembedd_internal.job[];
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        raise exception using message = 'The jobs are not an array.',
            hint = 'Post what process_embeddings() posts.', errcode = 'invalid_parameter_value';
    end if;
    claimed := array(select c from _claim_posted(jobs, lease_s) c);
    perform _release_waiting(jobs);
    return query
        select j.n, case when j.problem is not null then 'failed' when c.msg_id is null then u.state else 'claimed' end,
               coalesce(j.problem, u.reason), case when c.msg_id is not null then c end
        from _posted(jobs) j
        left join unnest(claimed) c on c.queue = j.queue and c.msg_id = j.msg_id and j.problem is null
        left join lateral _unclaimed(j.queue, j.msg_id, j.job) u on j.problem is null and c.msg_id is null
        order by j.n;
end $$;
comment on function pgembedd_internal.claim_pushed is
    'Claim jobs that were posted: one row for each, claimed, done or failed.';

-- Claims those of the posted jobs whose pipelines run, each pipeline's and queue's at once.
create or replace function pgembedd_internal._claim_posted(
    jobs jsonb, lease_s integer
) returns setof pgembedd_internal.job
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select c.*
    from (select j.queue, j.pipeline, jsonb_agg(j.job) as jobs from _posted(jobs) j where j.problem is null
          group by j.queue, j.pipeline) w
    join pipeline p on p.id::text = w.pipeline and p.state = 'running' and p.task = 'embed'
    cross join lateral _claim(p, w.queue, null, lease_s, w.jobs) c
$$;

-- Releases those whose pipelines wait for resume(), or for the end of a pause, and not for the end of a sender's lease.
create or replace function pgembedd_internal._release_waiting(jobs jsonb) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select release_pushed(jsonb_agg(j.job), 0)
    from _posted(jobs) j join pipeline p on p.id::text = j.pipeline and (p.state <> 'running' or _pauses(p))
    having count(*) > 0
$$;

create or replace function pgembedd_internal._whole_number(value jsonb, most numeric) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(value) = 'number' then
        case when value::numeric between 0 and most and value::numeric = trunc(value::numeric)
             then value::numeric::bigint end end
$$;

-- The jobs that were posted, in their order; `problem` for what is no job.
create or replace function pgembedd_internal._posted(jobs jsonb)
returns table (n bigint, job jsonb, queue text, msg_id bigint, read_ct integer, pipeline text, problem text)
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select j.n, j.job, p.queue, p.msg_id, p.read_ct::integer, j.job ->> 'pipeline',
           case when p.msg_id is null then 'This is no job: it has no jobId, or one that is no whole number.'
                when p.read_ct is null then 'This is no job: it has no readCt, or one that is no whole number.'
                when p.queue is null
                then 'This is no job: its queue is none of pgembedd_fresh and pgembedd_backfill.' end
    from jsonb_array_elements(jobs) with ordinality as j(job, n)
    cross join lateral (
        select (select q from unnest(_queues()) q where q = j.job ->> 'queue') as queue,
               _whole_number(j.job -> 'jobId', 9223372036854775807) as msg_id,
               _whole_number(j.job -> 'readCt', 2147483647) as read_ct) p
$$;

-- True if a posted job is the message: the same row of the same pipeline.
create or replace function pgembedd_internal._matches_message(posted jsonb, message jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select posted -> 'id' is not distinct from message -> 'id'
       and posted -> 'pipeline' is not distinct from message -> 'pipeline'
$$;

-- The query for the messages that jobs of one queue, $2, name: those that are due by $3, and those under the lease of
-- the read that posted them, and no other. Not a join: see _take().
create or replace function pgembedd_internal._posted_messages(queue text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select q.msg_id from %s q
        where q.msg_id = any (array(select p.msg_id from pgembedd_internal._posted($2) p))
          and exists (select from pgembedd_internal._posted($2) p where p.msg_id = q.msg_id and p.read_ct = q.read_ct
                      and pgembedd_internal._matches_message(p.job, q.message))
          and (q.vt <= $3 or pgembedd_internal._note(q.message, 'sent') = q.read_ct
               and pgembedd_internal._note(q.message, 'answered') <> q.read_ct)
        order by q.msg_id for update skip locked
        $q$, _queue_table(queue))
$$;

-- What a posted message is that was not claimed.
create or replace function pgembedd_internal._unclaimed(
    queue text, msg_id bigint, posted jsonb, out state text, out reason text
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
begin
    if queue is null or msg_id is null then return; end if;
    execute format('select q.vt, q.read_ct, q.message from %s q where q.msg_id = $1', _queue_table(queue))
        into one using msg_id;
    state := 'failed';
    if one.vt is null then
        if exists (select from dead_letter d where d.queue = _unclaimed.queue
                   and d.key is not distinct from posted -> 'id' and _matches_message(posted, d.message)) then
            reason := 'It failed for good: see pgembedd.dead_letters.';
        else
            state := 'done';  -- it was done, or its pipeline was dropped
        end if;
    elsif not _matches_message(posted, one.message) then
        reason := 'The message of this jobId is about something else than what was posted.';
    elsif exists (select from pipeline p where p.id::text = posted ->> 'pipeline' and p.state <> 'running') then
        reason := 'Its pipeline does not run; the job waits in the queue for pgembedd.resume().';
    elsif exists (select from pipeline p where p.id::text = posted ->> 'pipeline' and p.task <> 'embed') then
        state := 'queued';
        reason := 'Its file waits in the queue for `pgembedd run`.';
    elsif exists (select from pipeline p where p.id::text = posted ->> 'pipeline' and _pauses(p)) then
        reason := 'Its pipeline pauses, as code of its table''s owner is too slow; the job waits in the queue.';
    elsif _note(one.message, 'answered') = one.read_ct and one.read_ct > 0 then
        reason := 'It waits in the queue for its next attempt.';
    elsif one.read_ct = 0 and one.vt > clock_timestamp() then
        reason := 'It is not due yet.';
    else
        reason := 'Another request or worker has claimed it.';
    end if;
end $$;

-- Puts posted jobs that found no room back, due again after `delay_s` seconds: the sender's lease ends here.
create or replace function pgembedd_internal.release_pushed(jobs jsonb, delay_s double precision) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off
as $$
declare
    posted record;
begin
    for posted in
        select j.queue, jsonb_agg(j.job) as jobs from _posted(jobs) j where j.problem is null group by j.queue
    loop
        execute format($q$
            update %s m set vt = clock_timestamp() + $1,
                            message = pgembedd_internal._with_notes(
                                m.message, jsonb_build_object('answered', m.read_ct))
            where m.msg_id = any (array(%s))
            $q$, _queue_table(posted.queue), _posted_messages(posted.queue))
            using make_interval(secs => delay_s), posted.jobs, '-infinity'::timestamptz;
    end loop;
end $$;
comment on function pgembedd_internal.release_pushed is
    'End the sender''s lease of posted jobs that found no room: they are due again after `delay_s` seconds.';
