-- Everything that knows how a pgmq queue table looks. pgmq's own functions delete and delay by message id
-- alone, so after a lease has run out they would act on somebody else's claim; ours are fenced on
-- (msg_id, read_ct). Works with pgmq 1.5.1 and later: columns by name, nothing newer than 1.5.1.

-- What we keep in a message's headers, under one name, beside whatever others keep there.
--   attempts   recorded failures        deferrals  reads that ended without being a failure
--   alone      reads alone that have no outcome yet: so many workers died of it
--   answered   the read_ct of the last read that has an outcome: told twice, it counts once, and a heartbeat that
--              comes late does not take the job back
--   rewritten  times that writing the vector changed the content itself
--   changed    times in a row that the content was another one by the time of writing; version and same: what the row
--              was like then, and how many times in a row (41_unsteady.sql)
create or replace function pgembedd._note(headers jsonb, field text) returns integer
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- Others may write headers, too: what is no count counts nothing, and never stops a claim.
    select case when jsonb_typeof(headers -> 'pgembedd' -> field) = 'number'
                then least(greatest((headers -> 'pgembedd' ->> field)::numeric, 0), 1000000)::integer else 0 end
$$;

create or replace function pgembedd._with_notes(headers jsonb, notes jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(headers) = 'object' then headers else '{}' end || jsonb_build_object('pgembedd',
           case when jsonb_typeof(headers -> 'pgembedd') = 'object' then headers -> 'pgembedd' else '{}' end || notes)
$$;

-- A W3C trace context as a header of the message, for whoever gave one in `pgembedd.traceparent`; null for anything else:
-- nobody's statement may fail of it. An expression for generated code, which asks once a statement.
create or replace function pgembedd._trace_headers() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select format($q$(select case when t.given operator(pg_catalog.~) %L then pg_catalog.jsonb_build_object('traceparent', t.given) end
        from (select pg_catalog.current_setting('pgembedd.traceparent', true)) as t(given))$q$,
        '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$')
$$;

create or replace function pgembedd._queue_table(queue text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- pgmq folds to lower case and adds prefixes; a strict name needs no quoting anywhere.
    if queue is null or queue !~ '^[a-z_][a-z0-9_]{0,39}$' then
        raise exception 'The queue name % is not usable: take lower-case letters, digits and _, at most 40.',
            coalesce(quote_literal(queue), 'NULL') using errcode = 'invalid_parameter_value';
    end if;
    return 'pgmq.q_' || queue;
end $$;

create or replace function pgembedd._ensure_queue(queue text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    missing text;
begin
    if to_regclass(_queue_table(queue)) is null then
        begin
            perform pgmq.create(queue);
        exception when insufficient_privilege then
            -- Before 1.6, pgmq makes each queue part of the extension, which only the extension's owner may do.
            raise exception 'the role % may not create the queue "%" (%)', quote_ident(current_user), queue, sqlerrm
                using errcode = 'insufficient_privilege', hint = format(
                    'Have an administrator run: select pgmq.create(%L); grant select, insert, update, delete on pgmq.q_%s to %I;',
                    queue, queue, current_user);
        end;
        update installation set created_queues = created_queues || queue where not queue = any (created_queues);
    end if;
    select string_agg(c.name, ', ') into missing
    from unnest(array['msg_id', 'read_ct', 'enqueued_at', 'vt', 'message', 'headers']) as c(name)
    where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(_queue_table(queue)) and a.attname = c.name and not a.attisdropped);
    if missing is not null then
        raise exception 'the pgmq queue "%" has no column %', queue, missing using errcode = 'feature_not_supported',
            hint = 'pgembedd needs pgmq 1.5.1 or newer: update pgmq.';
    end if;
end $$;

-- The condition under which a claimed message is still ours, for format(): %1$s is the queue table.
create or replace function pgembedd._release(
    queue text, msg_ids bigint[], read_cts integer[], delay interval, note jsonb default '{}'
) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    released integer;
begin
    execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q
        set vt = clock_timestamp() + $3 * (0.75 + 0.5 * random()),
            headers = pgembedd._with_notes(q.headers,
                jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1, 'alone', 0,
                    'answered', q.read_ct) || $4)
        from held where held.msg_id = q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, delay, note;
    get diagnostics released = row_count;
    return released;
end $$;

-- How long a message waits after a failure: doubling, capped, with jitter of ±25 % so that a crowd spreads out.
create or replace function pgembedd.backoff(
    attempts integer, base interval default '2 s', cap interval default '10 min'
) returns interval
language sql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select least(cap, base * power(2, least(greatest(attempts, 1) - 1, 30))) * (0.75 + 0.5 * random())
$$;
comment on function pgembedd.backoff is
    'Wait before the next attempt: base doubled with every attempt, at most cap, times a random 0.75 to 1.25.';

-- Wake the workers, from a trigger or a function. A NOTIFY takes a database-wide lock at commit, so it is
-- sent only while a worker sleeps; one that is busy looks again by itself.
create or replace function pgembedd._wake(queue text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select last_value from pgembedd.worker_idle) = 1 then
        perform pg_notify('pgembedd', queue);
    end if;
end $$;
