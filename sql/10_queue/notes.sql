-- Our notes of a message stand in it, in the field `pgembedd`, because pgmq before 1.5 has no headers. A message that
-- was never released and belongs to no trace has none:
--   attempts   recorded failures        deferrals  reads that ended without being a failure
--   alone      reads alone that have no outcome yet: so many workers died of it
--   answered   the read_ct of the last read that has an outcome: told twice, it counts once, and a heartbeat that
--              comes late does not take the job back
--   why        why workers released it the last time, unless it failed since
--   rewritten  times that writing the vector changed the content itself
--   changed    times in a row that the content was another one by the time of writing; version and same: what the row
--              was like then, and how many times in a row (40_jobs/nondeterministic.sql)
--   history    the recorded failures
--   traceparent  the W3C trace context of the statement that queued it
--   since      of a row that another pipeline wrote: the change of that one's source, in seconds of Unix time
create or replace function pgembedd_internal._note(message jsonb, field text) returns integer
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- Others may write messages, too: what is no count counts nothing, and never stops a claim.
    select case when jsonb_typeof(message -> 'pgembedd' -> field) = 'number'
                then least(greatest((message -> 'pgembedd' ->> field)::numeric, 0), 1000000)::integer else 0 end
$$;

-- A message that is no object is no job, and takes no notes.
create or replace function pgembedd_internal._with_notes(message jsonb, notes jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(message) = 'object' then message || jsonb_build_object('pgembedd',
           case when jsonb_typeof(message -> 'pgembedd') = 'object' then message -> 'pgembedd' else '{}' end || notes)
           else message end
$$;

create or replace function pgembedd_internal._without_notes(message jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select case when jsonb_typeof(message) = 'object' then message - 'pgembedd' else message end $$;

-- A message with the key 0, as an expression for generated code, which evaluates it once a statement: with the trace
-- context that the setting `pgembedd.traceparent` holds. One of another form is left out, because no statement may fail
-- of it.
create or replace function pgembedd_internal._traced_message(message jsonb) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$(select case when t.given operator(pg_catalog.~) %L then pg_catalog.jsonb_set(
            %L::jsonb, '{pgembedd,traceparent}', pg_catalog.to_jsonb(t.given)) else %L::jsonb end
        from (select pg_catalog.current_setting('pgembedd.traceparent', true)) as t(given))$q$,
        '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$', _with_notes(message, '{}'), message)
$$;

-- The same of a table that another pipeline fills: with the time that the setting `pgembedd.since` holds, by which a
-- store says since when the change of its source has waited.
create or replace function pgembedd_internal._dated_message(message jsonb) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$(select case when d.since operator(pg_catalog.~) '^[0-9]{10}[.][0-9]{6}$'
            then pg_catalog.jsonb_set(
                d.message operator(pg_catalog.||) pg_catalog.jsonb_build_object(
                    'pgembedd', coalesce(d.message operator(pg_catalog.->) 'pgembedd', '{}')),
                '{pgembedd,since}', d.since::pg_catalog.jsonb)
            else d.message end
        from (select %s, pg_catalog.current_setting('pgembedd.since', true)) as d(message, since))$q$,
        _traced_message(message))
$$;

-- When the change was made that a message is for.
create or replace function pgembedd_internal._changed_at(message jsonb, enqueued_at timestamptz) returns timestamptz
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(message -> 'pgembedd' -> 'since') = 'number' then to_timestamp(
           least(greatest((message -> 'pgembedd' ->> 'since')::numeric, 0), 10000000000)::double precision)
           else enqueued_at end
$$;
