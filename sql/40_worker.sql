-- What a worker may call, and nothing else: claim, read, store, fail and their kin. SECURITY DEFINER with a
-- pinned search_path and row_security off, which makes a policy that would hide rows an error instead of a
-- silent "gone". EXECUTE is granted in 90_grants.sql.

-- Take up to `qty` jobs for `lease_s` seconds. Jobs of a pipeline that does not run are set aside, jobs that
-- nobody can know are given up, and a job that was read twice without any outcome is marked a suspect: its
-- worker may have died of it, so it is to be worked alone.
-- With `poll_s` it waits that long for a first job, inside pgmq: for poolers through which nobody can LISTEN.
create or replace function pgembedd.claim(queue text, qty integer, lease_s integer, poll_s integer default 0)
returns table (
    msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text,
    dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text,
    traceparent text, waited_s double precision, attempt integer)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
    msg_ids bigint[];
    read_cts integer[];
    messages jsonb[];
    notes jsonb[];
    enqueued timestamptz[];
begin
    if to_regclass(_queue_table(queue)) is null then
        raise exception 'There is no queue "%".', queue using errcode = 'undefined_object',
            hint = 'Run `pgembedd migrate`: it makes the queues of all pipelines.';
    end if;
    select array_agg(r.msg_id), array_agg(r.read_ct), array_agg(r.message), array_agg(r.headers), array_agg(r.enqueued_at)
        into msg_ids, read_cts, messages, notes, enqueued from _read_queue(queue, qty, lease_s, poll_s) r;
    return query select a.* from _admit(queue, msg_ids, read_cts, messages, notes, enqueued) a;
end $$;

-- What may be worked of the messages that were just read, with what a worker has to know of their pipelines.
create or replace function pgembedd._admit(
    queue text, msg_ids bigint[], read_cts integer[], messages jsonb[], notes jsonb[], enqueued timestamptz[]
) returns table (
    msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text,
    dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text,
    traceparent text, waited_s double precision, attempt integer)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    job record;
    guest record;
    refusal text;
    traced integer := 0;
begin
    for job in
        -- The usual message is ours and was never read before: it gets by without a call of a function.
        select c.*, p.id as p_id, p.name, p.model, p.fingerprint, p.dimensions, p.state, p.max_attempts,
               p.embedding_table, p.chunk_tokens, p.chunk_overlap, p.splitter,
               c.read_ct - 1 - c.attempts - c.deferrals as deaths
        from (
            select r.*,
                   case when r.message ? 'pipeline' and r.message ->> 'id' is not null then r.message ->> 'pipeline'
                        else _claimed_for(r.message)::text end as named,
                   case when r.headers is null then 0 else _note(r.headers, 'alone') end as alone,
                   case when r.headers is null then 0 else _note(r.headers, 'attempts') end as attempts,
                   case when r.headers is null then 0 else _note(r.headers, 'deferrals') end as deferrals
            from unnest(msg_ids, read_cts, messages, notes, enqueued) as r(msg_id, read_ct, message, headers, enqueued_at)) c
        left join pipeline p on p.id::text = c.named
        order by c.alone, c.msg_id  -- whoever was in company only goes before the one that kills
    loop
        if job.p_id is null then  -- a message of others may be the first of its kind
            select (g.host).*, g.refusal into guest from _guest(queue, job.message) g;
            refusal := guest.refusal;
            job.p_id := guest.id; job.name := guest.name; job.model := guest.model; job.fingerprint := guest.fingerprint;
            job.dimensions := guest.dimensions; job.state := guest.state; job.max_attempts := guest.max_attempts;
            job.splitter := guest.splitter; job.chunk_overlap := guest.chunk_overlap;
        end if;
        if job.p_id is null and refusal is null and job.deferrals < 100 then
            perform _release(queue, array[job.msg_id], array[job.read_ct], '2 s');
        elsif job.p_id is null then
            perform _bury(queue, job.msg_id, null, 'unknown_pipeline', coalesce(refusal,
                'It could not be registered for minutes, because others held what that takes.'), job.attempts);
        elsif job.state <> 'running' then
            perform _park(queue, job.msg_id);
        elsif job.alone > 0 and job.alone + job.attempts >= job.max_attempts then
            perform _bury(queue, job.msg_id, job.p_id, 'worker_died',
                'The worker died each time it worked on this job alone.', job.alone + job.attempts);
        else
            msg_id := job.msg_id; read_ct := job.read_ct; id := job.message -> 'id'; pipeline_id := job.p_id;
            pipeline := job.name; model := job.model; fingerprint := job.fingerprint;
            dimensions := job.dimensions; suspect := job.deaths >= 2;
            chunked := job.embedding_table is not null; chunk_tokens := job.chunk_tokens;
            chunk_overlap := job.chunk_overlap; splitter := job.splitter;
            attempt := job.attempts + 1;
            -- Whatever is there; who reads it judges it. Of a hundred jobs a claim: nobody looks at more.
            traceparent := case when traced < 100 then left(job.headers ->> 'traceparent', 55) end;
            traced := traced + (traceparent is not null)::integer;
            waited_s := case when traceparent is not null then extract(epoch from clock_timestamp() - job.enqueued_at) end;
            return next;
        end if;
    end loop;
end $$;

create or replace function pgembedd._read_queue(queue text, qty integer, lease_s integer, poll_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if _dealt(queue) then
        return query select r.* from _deal(queue, qty, lease_s) r;
    else
        return query select r.* from _take_oldest(queue, qty, lease_s) r;
    end if;
    if not found and poll_s > 0 then
        return query select r.msg_id, r.read_ct, r.message, r.headers, r.enqueued_at
        from pgmq.read_with_poll(queue_name => queue, vt => lease_s, qty => qty, max_poll_seconds => poll_s) r;
    end if;
end $$;

-- Our own messages name their pipeline; those of other triggers name a table and a column. Null for anything
-- else: whatever lands in the queue, the claim must not fail of it.
create or replace function pgembedd._pipeline_of(message jsonb) returns integer
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select p.id from pipeline p
    where coalesce(message -> 'id', 'null') <> 'null' and case when message ? 'pipeline'
        then p.id::text = message ->> 'pipeline'
        else p.embedding_column = message ->> 'embeddingColumn' and exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            -- The row trigger of a partitioned table names the partition.
            where p.source in (c.oid, pg_partition_root(c.oid))
              and c.relname = message ->> 'table' and n.nspname = message ->> 'schema') end
$$;

create or replace function pgembedd._park(queue text, msg_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format($q$
        update %s q set vt = 'infinity', headers = pgembedd._with_notes(q.headers,
            jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1))
        where q.msg_id = $1 $q$, _queue_table(queue)) using msg_id;
end $$;

-- A dead letter: the job leaves the queue with its reason and history, and the sweep leaves its row alone.
create or replace function pgembedd._bury(
    queue text, msg_id bigint, pipeline_id integer, reason text, error text, attempts integer
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    job record;
begin
    execute format('delete from %s q where q.msg_id = $1 returning *', _queue_table(queue)) into job using msg_id;
    insert into dead_letter (pipeline_id, queue, key, message, reason, error, attempts, history, enqueued_at)
    values (pipeline_id, queue, job.message -> 'id', coalesce(job.message, 'null'), reason, error, attempts,
            coalesce(job.headers -> 'pgembedd' -> 'history', '[]'), job.enqueued_at)
    on conflict on constraint dead_letter_pipeline_id_key_key do update
    set queue = excluded.queue, message = excluded.message, reason = excluded.reason, error = excluded.error,
        attempts = excluded.attempts, history = excluded.history, enqueued_at = excluded.enqueued_at,
        died_at = excluded.died_at;
    if pipeline_id is not null and job.message ? 'id' then
        insert into row_state (pipeline_id, key, state) values (pipeline_id, job.message -> 'id', 'dead')
        on conflict on constraint row_state_pkey do update
        set state = 'dead', dropped_tokens = null, since = clock_timestamp();
    end if;
    perform _tell('dead_letter', pipeline_id, jsonb_build_object(
        'queue', queue, 'msg_id', msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts));
end $$;

-- Before a suspect is worked: note that it is alone now. If the worker dies, this is what counts as its failure.
create or replace function pgembedd.mark_alone(queue text, msg_id bigint, read_ct integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    marked integer;
begin
    execute format($q$
        update %s q set headers = pgembedd._with_notes(q.headers,
            jsonb_build_object('alone', pgembedd._note(q.headers, 'alone') + 1))
        where q.msg_id = $1 and q.read_ct = $2 $q$, _queue_table(queue)) using msg_id, read_ct;
    get diagnostics marked = row_count;
    return marked = 1;
end $$;

-- Pin a pipeline to the model that serves it first. Returns the fingerprint it is pinned to.
create or replace function pgembedd.pin_model(pipeline_id integer, fingerprint text) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    pinned text;
begin
    update pipeline p set fingerprint = pin_model.fingerprint
    where p.id = pin_model.pipeline_id and p.fingerprint is null;
    select p.fingerprint into pinned from pipeline p where p.id = pin_model.pipeline_id;
    return pinned;
end $$;

-- What is blank is decided here, once: nothing but white space, also that of typographers (no-break, thin, wide),
-- which \s knows in some locales only.
create or replace function pgembedd._blank(content text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(content, '') !~ '[^\s\u0085\u00a0\u1680\u180e\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]'
$$;

-- The content of rows by key. n counts the keys from 1; a key that has no row comes back as gone.
create or replace function pgembedd.read(pipeline_id integer, ids jsonb[])
returns table (n bigint, state text, content text, hash bytea)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
begin
    return query execute format($q$
        select i.n, case when r.n is null then 'gone' when b.blank then 'blank' else 'ok' end,
               case when not b.blank then r.content end, %s
        from unnest($1) with ordinality as i(id, n) left join %s($1) r on r.n = i.n
        -- What starts with a letter, a digit or a sign is not blank; that spares most texts a search.
        cross join lateral (select case when left(r.content, 1) collate "C" between '!' and '~' then false
                                        else pgembedd._blank(r.content) end) as b(blank)
        order by i.n
        $q$, _hash('r.content'), _pipeline_function(pipeline_id, 'read')) using ids;
end $$;

-- The same for a pipeline with an embedding table, with what is put before and after each chunk, and the hashes of
-- the chunks that are there and were made by the pipeline's model: those need not be embedded again.
create or replace function pgembedd.read_chunks(pipeline_id integer, ids jsonb[])
returns table (n bigint, state text, content text, hash bytea, before text, after text, known bytea[])
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    return query execute format($q$
        select i.n, case when r.n is null then 'gone' when b.blank then 'blank' else 'ok' end,
               case when not b.blank then r.content end, coalesce(r.hash, ''), r.before, r.after, r.known
        from unnest($1) with ordinality as i(id, n) left join %s($1, $2) r on r.n = i.n
        cross join lateral (select case when left(r.content, 1) collate "C" between '!' and '~' then false
                                        else pgembedd._blank(r.content) end) as b(blank)
        order by i.n
        $q$, _pipeline_function(pipeline_id, 'read'))
    using ids, (select p.fingerprint from pipeline p where p.id = read_chunks.pipeline_id);
end $$;

-- Write the vectors and acknowledge, in one transaction: either both or neither. Per message one outcome:
--   written, unchanged, cleared, gone      done; the message is deleted
--   changed, rewritten, locked             released for a re-read, no attempt: the content changed meanwhile,
--                                          the write itself changed it, somebody holds the row
--   refused                                a BEFORE trigger of the table kept the vector out; to be failed
--   lost                                   the lease ran out and the job is somebody else's: nothing was done
create or replace function pgembedd.store(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings vector[],
    dropped integer[]
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    held_ids bigint[];
    held_outcomes text[];
    keys jsonb[];
    row_hashes bytea[];
    vectors embeddings%type;  -- vector[], wherever that lives
    blank boolean[];
    cut integer[];
    which integer[];
    outcomes text[];
    lag interval;
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    -- The jobs that are still ours, and their rows: several messages may name one, which is written once, with what
    -- the latest of them brings. `which` says for each job where its row stands in `keys`.
    execute format($q$
        with held as materialized (
            select q.msg_id, q.message -> 'id' as id, c.hash, c.embedding, c.dropped
            from unnest($1, $2, $3, $4, $5) as c(msg_id, read_ct, hash, embedding, dropped)
            join %s q using (msg_id, read_ct) order by q.msg_id for update of q),
        ranked as (
            select h.*, dense_rank() over (order by h.id) as row_no,
                   lead(true, 1, false) over (partition by h.id order by h.msg_id) as older
            from held h)
        select array_agg(r.msg_id order by r.row_no, r.msg_id), array_agg(r.row_no order by r.row_no, r.msg_id),
               array_agg(r.id order by r.row_no) filter (where not r.older),
               array_agg(r.hash order by r.row_no) filter (where not r.older),
               array_agg(r.embedding order by r.row_no) filter (where not r.older),
               array_agg(r.embedding is null order by r.row_no) filter (where not r.older),
               array_agg(r.dropped order by r.row_no) filter (where not r.older)
        from ranked r
        $q$, _queue_table(queue)) into held_ids, which, keys, row_hashes, vectors, blank, cut
    using msg_ids, read_cts, hashes, embeddings, dropped;

    if held_ids is null then
        return query select c.msg_id, 'lost' from unnest(msg_ids) as c(msg_id);
        return;
    end if;

    execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3) w',
        _pipeline_function(pipeline_id, 'write')) into outcomes using keys, row_hashes, vectors;
    held_outcomes := array(select outcomes[w.row_no] from unnest(which) with ordinality as w(row_no, i) order by w.i);

    lag := _acknowledge(queue, held_ids, held_outcomes);
    perform _note_outcomes(pipeline_id, keys, outcomes, blank, cut, lag), _tell_stored(pipeline_id, queue, outcomes, lag);
    perform _stop_if_rewriting(queue, pipeline_id, held_ids, held_outcomes);
    perform _give_up_unsteady(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $$;

-- The same for rows in chunks. `chunk_jobs` says for each chunk which of the messages brings it, counted from 1; a
-- chunk without a vector has the text of one that is there. A message that brings no chunk clears its row.
create or replace function pgembedd.store_chunks(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[],
    chunk_jobs integer[], chunk_nos integer[], chunks text[], start_offsets integer[], end_offsets integer[],
    chunk_hashes bytea[], embeddings vector[], tokens integer[], tokens_kept integer[]
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    held_ids bigint[];
    held_outcomes text[];
    keys jsonb[];
    row_hashes bytea[];
    jobs integer[];  -- the message that a row's chunks come with: the latest that names it
    cut integer[];
    which integer[];
    outcomes text[];
    lag interval;
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    execute format($q$
        with held as materialized (
            select q.msg_id, q.message -> 'id' as id, c.hash, c.dropped, c.job
            from rows from (unnest($1), unnest($2), unnest($3), unnest($4))
                with ordinality as c(msg_id, read_ct, hash, dropped, job)
            join %s q using (msg_id, read_ct) order by q.msg_id for update of q),
        ranked as (
            select h.*, dense_rank() over (order by h.id) as row_no,
                   lead(true, 1, false) over (partition by h.id order by h.msg_id) as older
            from held h)
        select array_agg(r.msg_id order by r.row_no, r.msg_id), array_agg(r.row_no order by r.row_no, r.msg_id),
               array_agg(r.id order by r.row_no) filter (where not r.older),
               array_agg(r.hash order by r.row_no) filter (where not r.older),
               array_agg(r.job order by r.row_no) filter (where not r.older),
               array_agg(r.dropped order by r.row_no) filter (where not r.older)
        from ranked r
        $q$, _queue_table(queue)) into held_ids, which, keys, row_hashes, jobs, cut using msg_ids, read_cts, hashes, dropped;

    if held_ids is null then
        return query select c.msg_id, 'lost' from unnest(msg_ids) as c(msg_id);
        return;
    end if;

    execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) w',
        _pipeline_function(pipeline_id, 'write')) into outcomes
    using keys, row_hashes, jobs, chunk_jobs, chunk_nos, chunks, start_offsets, end_offsets, chunk_hashes, embeddings, tokens,
          tokens_kept, (select p.fingerprint from pipeline p where p.id = store_chunks.pipeline_id);
    held_outcomes := array(select outcomes[w.row_no] from unnest(which) with ordinality as w(row_no, i) order by w.i);

    lag := _acknowledge(queue, held_ids, held_outcomes);
    perform _note_outcomes(pipeline_id, keys, outcomes, array(select not j = any (chunk_jobs) from unnest(jobs) j), cut, lag),
            _tell_stored(pipeline_id, queue, outcomes, lag);
    perform _give_up_unsteady(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $$;

-- Returns how long the jobs that are done had waited, on average.
create or replace function pgembedd._acknowledge(queue text, msg_ids bigint[], outcomes text[]) returns interval
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    lag interval;
begin
    execute format($q$
        with done as (
            delete from %s q using unnest($1, $2) as o(msg_id, outcome)
            where q.msg_id = o.msg_id and o.outcome in ('written', 'unchanged', 'cleared', 'gone')
            returning q.enqueued_at, o.outcome)
        select avg(clock_timestamp() - d.enqueued_at) filter (where d.outcome <> 'gone') from done d
        $q$, _queue_table(queue)) into lag using msg_ids, outcomes;
    if outcomes && array['changed', 'rewritten', 'locked'] then
        -- A row that stays locked is looked at ever less often, up to once a minute.
        execute format($q$
            update %s q set
                vt = clock_timestamp() + case o.outcome when 'locked'
                    then pgembedd.backoff(pgembedd._note(q.headers, 'deferrals') + 1, '250 ms', '1 min')
                    -- Content that is never twice the same, because it holds the time or a random number.
                    when 'changed' then case when pgembedd._note(q.headers, 'changed') >= 3
                        then pgembedd.backoff(pgembedd._note(q.headers, 'changed') - 2, '250 ms', '1 min') else '0' end
                    else '0' end,
                headers = pgembedd._with_notes(q.headers, jsonb_build_object(
                    'deferrals', pgembedd._note(q.headers, 'deferrals') + 1, 'alone', 0, 'answered', q.read_ct,
                    'changed', case o.outcome when 'changed' then pgembedd._note(q.headers, 'changed') + 1 else 0 end,
                    'rewritten', case o.outcome when 'rewritten' then pgembedd._note(q.headers, 'rewritten') + 1 else 0 end))
            from unnest($1, $2) as o(msg_id, outcome)
            where q.msg_id = o.msg_id and o.outcome in ('changed', 'rewritten', 'locked')
            $q$, _queue_table(queue)) using msg_ids, outcomes;
    end if;
    return lag;
end $$;

-- row_state holds exceptions only: a success removes what was there.
create or replace function pgembedd._note_outcomes(
    pipeline_id integer, keys jsonb[], outcomes text[], blank boolean[], dropped integer[], lag interval
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    delete from row_state r using unnest(keys, outcomes) as o(key, outcome)
    where r.pipeline_id = _note_outcomes.pipeline_id and r.key = o.key
      and o.outcome in ('written', 'unchanged', 'cleared', 'gone');
    delete from dead_letter d using unnest(keys, outcomes) as o(key, outcome)
    where d.pipeline_id = _note_outcomes.pipeline_id and d.key = o.key
      and o.outcome in ('written', 'unchanged', 'cleared', 'gone');
    insert into row_state (pipeline_id, key, state, dropped_tokens)
    select _note_outcomes.pipeline_id, o.key, case when o.blank then 'blank' else 'truncated' end, nullif(o.dropped, 0)
    from unnest(keys, outcomes, blank, dropped) as o(key, outcome, blank, dropped)
    where o.outcome in ('written', 'unchanged', 'cleared') and (o.blank or o.dropped > 0)
    on conflict on constraint row_state_pkey do update
    set state = excluded.state, dropped_tokens = excluded.dropped_tokens, since = excluded.since;
    insert into activity (pipeline_id, written, cleared, unchanged, gone, lag)
    select _note_outcomes.pipeline_id,
           count(*) filter (where o.outcome = 'written'), count(*) filter (where o.outcome = 'cleared'),
           count(*) filter (where o.outcome = 'unchanged'), count(*) filter (where o.outcome = 'gone'), lag
    from unnest(outcomes) as o(outcome)
    having count(*) filter (where o.outcome in ('written', 'cleared', 'unchanged', 'gone')) > 0;
end $$;

-- Content that depends on a column which a BEFORE trigger sets at every update would be embedded for ever.
create or replace function pgembedd._stop_if_rewriting(queue text, pipeline_id integer, msg_ids bigint[], outcomes text[])
returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    rounds integer;
begin
    if not outcomes && array['rewritten'] then return; end if;
    execute format($q$select max(pgembedd._note(q.headers, 'rewritten')) from %s q where q.msg_id = any ($1)$q$,
        _queue_table(queue)) into rounds using msg_ids;
    if rounds >= 3 then
        perform stop_pipeline(pipeline_id,
            'The content changes each time its vector is written, because a BEFORE UPDATE trigger sets a column that the '
            'content uses: take that column out of the content, then call pgembedd.resume().');
    end if;
end $$;

create or replace function pgembedd.stop_pipeline(pipeline_id integer, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _stop(pipeline_id, reason, reason);
end $$;

-- With another reason for the event where ours holds what Postgres said, which may quote a row.
create or replace function pgembedd._stop(pipeline_id integer, reason text, told_reason text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    update pipeline p set state = 'stopped', state_reason = reason, state_since = clock_timestamp()
    where p.id = _stop.pipeline_id and p.state = 'running';
    if found then
        perform _tell('stopped', pipeline_id, jsonb_build_object('reason', told_reason));
    end if;
end $$;

-- Whether the pipeline itself is broken rather than a row. If so it is stopped with the reason, which is returned; or
-- 'followed' when its code was out of date and was made anew, so that the same will work now.
create or replace function pgembedd.diagnose(pipeline_id integer) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    problem text;
begin
    select p.* into one from pipeline p where p.id = diagnose.pipeline_id;
    if one.id is null then return 'The pipeline was dropped.'; end if;
    problem := _follow(one);
    if problem is not null and problem <> 'followed' then
        perform stop_pipeline(pipeline_id, problem);
    end if;
    return problem;
end $$;

-- A failed attempt. Returns what became of the job: retry, dead, or lost (it was somebody else's by then).
create or replace function pgembedd.fail(
    queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean default false
) returns table (outcome text, attempts integer, retry_in interval)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    job record;
    one pgembedd.pipeline;
begin
    execute format('select q.* from %s q where q.msg_id = $1 and q.read_ct = $2 for update', _queue_table(queue))
        into job using fail.msg_id, fail.read_ct;
    if job.msg_id is null then
        outcome := 'lost'; return next; return;
    end if;
    attempts := _note(job.headers, 'attempts') + 1;
    if job.headers -> 'pgembedd' -> 'history' -> -1 -> 'read_ct' = to_jsonb(fail.read_ct) then
        -- Told twice, because the first answer was lost with the connection: it counts once.
        outcome := 'retry'; attempts := attempts - 1; retry_in := job.vt - clock_timestamp();
        return next; return;
    end if;
    select p.* into one from pipeline p where p.id = _pipeline_of(job.message);
    retry_in := backoff(attempts);
    execute format($q$
        update %s q set vt = clock_timestamp() + $2, headers = pgembedd._with_notes(q.headers, $3) where q.msg_id = $1
        $q$, _queue_table(queue)) using fail.msg_id, retry_in, jsonb_build_object(
            'attempts', attempts, 'alone', 0, 'answered', read_ct,
            'history', coalesce(job.headers -> 'pgembedd' -> 'history', '[]') || jsonb_build_object(
                'at', clock_timestamp(), 'read_ct', read_ct, 'reason', reason, 'error', left(error, 1000)));
    outcome := 'retry';
    if permanent or attempts >= coalesce(one.max_attempts, 1) then
        perform _bury(queue, job.msg_id, one.id, reason, left(error, 4000), attempts);
        outcome := 'dead'; retry_in := null;
    else
        perform _tell('failed', one.id, jsonb_build_object(
            'queue', queue, 'msg_id', job.msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts,
            'retry_in_s', round(extract(epoch from retry_in)::numeric, 3)));
    end if;
    return next;
end $$;

-- Keep a claim for another `lease_s` seconds. Returns the ids that are still ours.
create or replace function pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer)
returns setof bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q set vt = clock_timestamp() + make_interval(secs => $3) from held where held.msg_id = q.msg_id
        returning q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, lease_s;
end $$;

-- Give a claim back unworked: no attempt, somebody else's after `delay_s` seconds.
create or replace function pgembedd.release(
    queue text, msg_ids bigint[], read_cts integer[], delay_s double precision default 0
) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    released integer := _release(queue, msg_ids, read_cts, make_interval(secs => delay_s));
begin
    if released > 0 and delay_s = 0 then perform _wake(queue); end if;
    return released;
end $$;

-- Say that a worker goes to sleep (true) or has its hands full (false): see worker_idle.
create or replace function pgembedd.set_idle(idle boolean) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if (select last_value from worker_idle) <> idle::integer then
        perform set_config('synchronous_commit', 'off', true);  -- a hint, not worth a flush
        perform setval('pgembedd.worker_idle', idle::integer);
    end if;
end $$;

-- What the running pipelines need of a model, so that a worker can load it before the first job.
create or replace function pgembedd.models() returns table (
    pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer)
language sql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select p.id, p.name, p.model, p.fingerprint, p.dimensions from pipeline p where p.state = 'running' order by p.id $$;

-- The lanes a worker serves: pairs of a fresh queue and its backfill.
create or replace function pgembedd.lanes() returns table (queue text, backfill_queue text)
language sql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select 'embedding_jobs', 'embedding_backfill'
    union
    select p.queue, p.backfill_queue from pipeline p
$$;

-- Which migration and which sql/ this database has.
create or replace function pgembedd.schema_version() returns table (revision text, sql_digest text)
language sql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select (select v.version_num from schema_revision v), i.sql_digest from installation i $$;
