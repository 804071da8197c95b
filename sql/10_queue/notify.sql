-- Events on the channel pgembedd_events: one JSON object each, described in docs/reference/events.md. Every role that
-- may connect may LISTEN, so an event holds no text and no error message; a row is named by its key. Every role may
-- send a NOTIFY, too, so what is to be believed is the row of `event` with the number `nth`. A NOTIFY takes a
-- database-wide lock at commit, so there is one per store and none in a writer's transaction.

-- `told` are the fields of this kind of event. What does not fit into the 8,000 bytes that a NOTIFY takes is left out,
-- and said to be: a key can be as large as an index entry, which is about a third of that before its quotes are
-- escaped.
create or replace function pgembedd_internal._notify(
    event text, pipeline_id integer, told jsonb default '{}', name text default null
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    payload jsonb := jsonb_build_object(
        'event', event, 'pipeline', coalesce(name, (select p.name from pipeline p where p.id = _notify.pipeline_id)),
        'pipeline_id', pipeline_id,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || told
        || case when told ? 'key' then jsonb_build_object('key', _shown(told -> 'key')) else '{}' end;
    field text;
    number bigint;
begin
    foreach field in array array['key', 'reason'] loop
        exit when octet_length(payload::text) <= 7900;
        continue when not payload ? field;
        payload := payload - field
            || jsonb_build_object('left_out', coalesce(payload -> 'left_out', '[]') || to_jsonb(field));
    end loop;
    insert into event (payload) values (payload) returning event.nth into number;
    perform pg_notify('pgembedd_events', (payload || jsonb_build_object('nth', number))::text);
    if event = any ('{created,altered,resumed,change_begun,switched,reverted}') then
        perform pg_notify('pgembedd', 'models');  -- workers look which models they need
    end if;
end $$;

-- The events of these numbers, in this order; none that was committed before the snapshot.
create or replace function pgembedd.events(numbers bigint[], since pg_snapshot)
returns table (nth bigint, event jsonb)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select e.nth, e.payload || jsonb_build_object('nth', e.nth)
    from unnest(numbers) with ordinality as n(nth, place) join event e on e.nth = n.nth
    where not pg_visible_in_snapshot(e.xid::xid8, since)
    order by n.place
$$;
comment on function pgembedd.events is
    'What was really told on the channel pgembedd_events, by number; for who listens since that snapshot.';

-- A store: what became of how many rows, and how long those that are done had waited.
create or replace function pgembedd_internal._notify_stored(
    pipeline_id integer, queue text, outcomes text[], lag interval
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _notify('stored', pipeline_id, jsonb_build_object(
        'queue', queue, 'lag_s', round(extract(epoch from lag)::numeric, 3))
        || jsonb_object_agg(w.word, coalesce(n.rows, 0)))
    from unnest('{written,cleared,unchanged,gone,changed,rewritten,locked,refused}'::text[]) as w(word)
    left join (select o.word, count(*) as rows from unnest(outcomes) as o(word) group by o.word) n using (word);
end $$;

create or replace function pgembedd_internal._notify_created(
    made pgembedd_internal.pipeline, queued bigint
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _notify('created', made.id, jsonb_build_object(
        'source', made.source::text, 'destination', coalesce(made.embedding_column, made.embedding_table_name),
        'model', made.model, 'queued', queued));
end $$;
