-- Push mode: pg_cron and pg_net post jobs to a worker's HTTP endpoint, as in Supabase's guide to automatic embeddings.
-- A posted job names a message (jobId, and with ours its queue and its read_ct) and repeats what it says. Nothing that
-- is posted is believed: it only says which message is meant, and is compared with it. The worker takes the message over
-- from the read that posted it, by a read of its own; so the fence is its alone, and whoever had it holds nothing.
--
-- In a message's headers, beside those of 10_queue.sql:
--   sent   the read_ct of the last read that was made to be posted; it is a deferral already
--   taken  the read_ct of the last read of a worker's that was posted to

create or replace function pgembedd._whole(value jsonb, most numeric) returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(value) = 'number' then
        case when value::numeric between 0 and most and value::numeric = trunc(value::numeric) then value::numeric::bigint end end
$$;

-- The jobs that were posted, in their order; `problem` for what is no job.
create or replace function pgembedd._posted(jobs jsonb)
returns table (n bigint, job jsonb, queue text, msg_id bigint, read_ct integer, problem text)
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select j.n, j.job, coalesce(j.job ->> 'queue', 'embedding_jobs'), _whole(j.job -> 'jobId', 9223372036854775807),
           case when coalesce(j.job -> 'readCt', 'null') <> 'null' then coalesce(_whole(j.job -> 'readCt', 2147483647), -1)::integer end,
           case when _whole(j.job -> 'jobId', 9223372036854775807) is null
                then 'This is no job: it has no jobId, or one that is no whole number.' end
    from jsonb_array_elements(jobs) with ordinality as j(job, n)
$$;

-- Whether a posted job is the message: the same row, and nothing that is given is another one.
create or replace function pgembedd._agrees(posted jsonb, message jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select posted -> 'id' is not distinct from message -> 'id' and not exists (
        select from unnest('{schema,table,contentFunction,embeddingColumn,pipeline}'::text[]) as f(name)
        where posted ->> f.name is not null and posted -> f.name is distinct from message -> f.name)
$$;

-- Take the messages that are meant. One under a lease is taken from the read that posted it, where that cannot be
-- somebody else's: not with another read_ct than was posted; not while another request works on it; not when it has
-- an outcome and waits for the next attempt. What is left is a lease of which nobody can tell whose it is, since the
-- guide's jobs do not say: were it a worker's, that worker would find its fence gone, and nothing be done twice.
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
                        and pgembedd._agrees(p.job, q.message))
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

-- Claim jobs that were posted to this worker. The rows without `n` are jobs to be worked, as claim() gives them; the
-- others say, for each that was posted, what it is: claimed, done (there is no such message any more), or failed, with
-- the reason in a sentence.
create or replace function pgembedd.claim_pushed(jobs jsonb, lease_s integer)
returns table (
    n bigint, state text, reason text, queue text, msg_id bigint, read_ct integer, id jsonb, pipeline_id integer,
    pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean,
    chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision, attempt integer)
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
        select array_agg(t.msg_id), array_agg(t.read_ct), array_agg(t.message), array_agg(t.headers), array_agg(t.enqueued_at)
            into msg_ids, read_cts, messages, notes, enqueued from _take_pushed(lane.name, lane.jobs, lease_s) t;
        return query
            select null::bigint, 'claimed', null, lane.name, a.*
            from _admit(lane.name, msg_ids, read_cts, messages, notes, enqueued) a;
        return query
            select lane.ns[p.n], w.state, w.reason, lane.name, p.msg_id, null::integer, null::jsonb, null::integer,
                   null, null, null, null::integer, null::boolean, null::boolean, null::integer, null::integer, null, null,
                   null::double precision, null::integer
            from _posted(lane.jobs) p cross join lateral _pushed_state(lane.name, p.msg_id, p.job, coalesce(p.msg_id = any (msg_ids), false)) w;
    end loop;
    return query
        select p.n, 'failed', coalesce(p.problem, 'No pipeline has a queue of this name.'), p.queue, p.msg_id, null::integer,
               null::jsonb, null::integer, null, null, null, null::integer, null::boolean, null::boolean, null::integer,
               null::integer, null, null, null::double precision, null::integer
        from _posted(jobs) p where p.problem is not null or p.queue <> all (ours);
end $$;

-- What has become of a message that was posted, after the claim; `taken`: it was claimed for this one.
create or replace function pgembedd._pushed_state(queue text, msg_id bigint, posted jsonb, taken boolean, out state text, out reason text)
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
        if exists (select from dead_letter d where d.queue = _pushed_state.queue and d.key is not distinct from posted -> 'id'
                   and _agrees(posted, d.message)) then
            reason := 'It was given up: see pgembedd.failures.';
        else
            state := 'done';  -- somebody did it, or nobody wants it any more
        end if;
    elsif not _agrees(posted, one.message) then
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

-- What pg_cron calls: claim jobs, for as long as their requests may take, and post them in batches. What is not
-- answered comes back when the lease is over, so nothing here looks at the answers. Returns how many jobs were posted.
create or replace function pgembedd.process_embeddings(
    batch_size integer default 10, max_requests integer default 10, timeout_milliseconds integer default 5 * 60 * 1000
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    target pgembedd.push;
    jobs jsonb;
begin
    select p.* into target from push p;
    if target.url is null then
        perform _refuse('There is no URL to push jobs to.', 'Name one: select pgembedd.set_push(''https://…/functions/v1/embed'').');
    elsif not _net_is_here() then
        perform _refuse('pg_net is not installed in this database.', 'CREATE EXTENSION pg_net; or run workers that pull: `pgembedd run`.');
    elsif batch_size is null or batch_size not between 1 and 1000 or max_requests is null or max_requests not between 1 and 1000 then
        perform _refuse(format('%s requests of %s jobs are not to be had.', coalesce(max_requests::text, 'NULL'), coalesce(batch_size::text, 'NULL')),
            'Take 1 to 1000 of each.');
    elsif timeout_milliseconds is null or timeout_milliseconds < 1000 then
        perform _refuse(format('%s milliseconds are too short a time.', coalesce(timeout_milliseconds::text, 'NULL')), 'Take 1000 or more.');
    end if;
    select jsonb_agg(j) into jobs from _claim_for_push(batch_size * max_requests, timeout_milliseconds / 1000) j;
    perform net.http_post(
        url => target.url, body => b.batch, timeout_milliseconds => process_embeddings.timeout_milliseconds,
        headers => jsonb_strip_nulls(jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || target.token)))
    from (select jsonb_agg(j.job order by j.nth) as batch from jsonb_array_elements(jobs) with ordinality as j(job, nth)
          group by (j.nth - 1) / batch_size order by (j.nth - 1) / batch_size) b;
    return coalesce(jsonb_array_length(jobs), 0);
end $$;
comment on function pgembedd.process_embeddings is
    'Post waiting jobs to the URL of set_push(), in batches, through pg_net. Returns how many.';

-- Fresh lanes before backfills, of which a quarter of the places is kept; queues in a random order, so that each gets
-- its turn at being first.
create or replace function pgembedd._claim_for_push(places integer, lease_s integer) returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    lane record;
    left_over integer := places;
    ids bigint[];
    wanted integer;
begin
    for lane in
        select r.round, case r.round when 2 then l.backfill_queue else l.queue end as queue
        from lanes() l cross join generate_series(1, 3) as r(round)
        where to_regclass(_queue_table(case r.round when 2 then l.backfill_queue else l.queue end)) is not null
        order by r.round, random()
    loop
        wanted := left_over - case lane.round when 1 then places / 4 else 0 end;
        continue when wanted <= 0;
        ids := array(select c.msg_id from claim(lane.queue, wanted, lease_s) c);
        return query execute format($q$
            update %1$s q set headers = pgembedd._with_notes(q.headers, jsonb_build_object(
                'sent', q.read_ct, 'deferrals', pgembedd._note(q.headers, 'deferrals') + 1))
            where q.msg_id = any ($1)
            returning q.message || jsonb_build_object('jobId', q.msg_id, 'queue', %2$L, 'readCt', q.read_ct)
            $q$, _queue_table(lane.queue), lane.queue) using ids;
        left_over := left_over - cardinality(ids);
    end loop;
end $$;

-- The function of pg_net, and of nobody who only calls a schema so: what pg_cron runs, it runs as our owner.
create or replace function pgembedd._net_is_here() returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select exists (
        select from pg_proc f join pg_roles r on r.oid = f.proowner
        where f.oid = to_regprocedure('net.http_post(text, jsonb, jsonb, jsonb, integer)')
          and (r.rolsuper or r.rolname = current_user or exists (
               select from pg_depend d join pg_extension e on e.oid = d.refobjid
               where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.refclassid = 'pg_extension'::regclass
                 and d.deptype = 'e' and e.extname = 'pg_net')))
$$;

create or replace function pgembedd.set_push(url text, token text default null, every text default '10 seconds') returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if url is null then
        delete from push;
        return _schedule_push();
    elsif url !~ '^https?://[^/\s]+(/\S*)?$' then
        perform _refuse(format('%s is not the URL of an endpoint.', quote_literal(url)), 'Write https://host/functions/v1/embed.');
    elsif url ~ '^https?://[^/]*@' then
        perform _refuse('The URL holds a password.', 'Give it as token, which only the owner can read.');
    elsif token collate "C" ~ '[^!-~]' or token = '' then
        perform _refuse('The token has a character that no header may have, or none at all.', 'Take letters, digits and signs.');
    elsif every is null or every !~ '^([1-9]|[1-5][0-9]) seconds?$' and every !~ '^\S+( \S+){4}$' then
        perform _refuse(format('%s is no schedule of pg_cron.', coalesce(quote_literal(every), 'NULL')),
            'Take ''10 seconds'' (1 to 59), or five fields as in ''* * * * *''.');
    end if;
    insert into push (url, token, every) values (set_push.url, set_push.token, set_push.every)
    on conflict (only_row) do update set url = excluded.url, token = excluded.token, every = excluded.every;
    return _schedule_push();
end $$;
comment on function pgembedd.set_push is
    'Post jobs to this URL from now on, as often as `every` says; null: no more. Returns how that stands, in a sentence.';

-- Schedule or unschedule the push as its table says. Also after each migration: pg_cron and pg_net may have come since.
create or replace function pgembedd._schedule_push() returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    target pgembedd.push;
    job record;
    command constant text := 'select pgembedd.process_embeddings()';
begin
    select p.* into target from push p;
    if to_regclass('cron.job') is null or to_regprocedure('cron.schedule(text, text, text)') is null then
        return case
            when target.url is null then 'Nothing is pushed.'
            when not _net_is_here() then 'Nothing is pushed yet: neither pg_net nor pg_cron is in this database. CREATE EXTENSION both, then run `pgembedd migrate`.'
            else 'Nothing is scheduled: pg_cron is not in this database. CREATE EXTENSION pg_cron and run `pgembedd migrate`, or have '
                 'pgembedd.process_embeddings() called by a schedule of yours.' end;
    end if;
    for job in select j.jobid, j.username from cron.job j where j.jobname = 'pgembedd-push' and j.database = current_database() loop
        if target.url is null or not _net_is_here() then
            perform cron.unschedule(job.jobid);
        else
            perform cron.alter_job(job.jobid, schedule => target.every, command => command);
        end if;
    end loop;
    if target.url is null then
        return 'Nothing is pushed.';
    elsif not _net_is_here() then
        return 'Nothing is pushed yet: pg_net is not in this database. CREATE EXTENSION pg_net, then run `pgembedd migrate`.';
    elsif job is null then
        perform cron.schedule('pgembedd-push', target.every, command);
    end if;
    return format('pg_cron posts waiting jobs to %s (%s).', target.url, target.every);
exception when insufficient_privilege then
    return format('Nothing is scheduled: %s may not use pg_cron here. Have somebody who may call: select cron.schedule(''pgembedd-push'', %L, %L).',
        quote_ident(current_user), coalesce(target.every, '10 seconds'), command);
end $$;
