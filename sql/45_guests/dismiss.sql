-- create_pipeline for the same column takes a guest's place: its jobs stay, and name no pipeline from now on, so that
-- the new one is found by table and column. What a worker has claimed of it comes back by itself.
create or replace function pgembedd._dismiss_guest(source regclass, embedding_column text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    guest pgembedd.pipeline;
    item text;
begin
    select p.* into guest from pipeline p
    where p.source = _dismiss_guest.source and p.embedding_column = _dismiss_guest.embedding_column
      and not p.own_triggers;
    if guest.id is null then return; end if;
    foreach item in array array[guest.queue, guest.backfill_queue] loop
        perform _unpark(item, guest.id);
        if to_regclass(_queue_table(item)) is not null then
            execute format('update %s q set message = q.message - ''pipeline'' where q.message ->> ''pipeline'' = %L',
                _queue_table(item), guest.id);
        end if;
    end loop;
    for item in
        select f.oid::regprocedure::text from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname like format('pipeline\_%s\_%%', guest.id)
    loop
        execute format('drop function %s', item);
    end loop;
    delete from pipeline p where p.id = guest.id;
    perform _notify('dropped', guest.id, name => guest.name);
end $$;

-- A guest that is dropped comes back with the next job of its triggers.
create or replace function pgembedd._foretell_return(gone pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    triggers text;
begin
    if gone.own_triggers then return; end if;
    select string_agg(quote_ident(t.tgname), ', ' order by t.tgname) into triggers from _guest_triggers(gone) t;
    if triggers is not null then
        raise notice 'The pipeline "%" was made by jobs of the triggers % on %, and the next one '
                     'makes it again: drop them, or keep the pipeline and call pgembedd.pause().',
            gone.name, triggers, gone.source;
    end if;
end $$;

-- Rows that a WHEN condition keeps from its trigger are left out on purpose; only where every new row is queued is a
-- row without a vector one that was missed.
create or replace function pgembedd._swept(pipeline pgembedd.pipeline) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select pipeline.own_triggers
        or exists (select from _guest_triggers(pipeline) t where t.tgtype::integer & 4 <> 0 and t.tgqual is null)
$$;
