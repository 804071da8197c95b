-- Our fields in a message's headers, under one name, beside those of other programs.
--   attempts   recorded failures        deferrals  reads that ended without being a failure
--   alone      reads alone that have no outcome yet: so many workers died of it
--   answered   the read_ct of the last read that has an outcome: told twice, it counts once, and a heartbeat that
--              comes late does not take the job back
--   why        why workers released it the last time, unless it failed since
--   rewritten  times that writing the vector changed the content itself
--   changed    times in a row that the content was another one by the time of writing; version and same: what the row
--              was like then, and how many times in a row (40_jobs/nondeterministic.sql)
create or replace function pgembedd_internal._note(headers jsonb, field text) returns integer
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- Others may write headers, too: what is no count counts nothing, and never stops a claim.
    select case when jsonb_typeof(headers -> 'pgembedd' -> field) = 'number'
                then least(greatest((headers -> 'pgembedd' ->> field)::numeric, 0), 1000000)::integer else 0 end
$$;

create or replace function pgembedd_internal._with_notes(headers jsonb, notes jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(headers) = 'object' then headers else '{}' end || jsonb_build_object('pgembedd',
           case when jsonb_typeof(headers -> 'pgembedd') = 'object' then headers -> 'pgembedd' else '{}' end || notes)
$$;

-- A W3C trace context as a header of the message, from the setting `pgembedd.traceparent`; null for a value of another
-- form, because no statement may fail of it. An expression for generated code, which asks once a statement.
create or replace function pgembedd_internal._trace_headers() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select format($q$(select case
        when t.given operator(pg_catalog.~) %L then pg_catalog.jsonb_build_object('traceparent', t.given) end
        from (select pg_catalog.current_setting('pgembedd.traceparent', true)) as t(given))$q$,
        '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$')
$$;
