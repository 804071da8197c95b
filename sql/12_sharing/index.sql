-- Several pipelines on one queue. pgmq hands messages out in order of arrival, so a million messages of one pipeline
-- would delay all others. A queue with several pipelines gets an index by party, and a claim deals its places evenly
-- among the parties that have messages waiting. A queue with one pipeline has no such index and is read in order of
-- arrival.

-- The party of a message, for format(): its pipeline, or the table that a message of another trigger names, or empty.
-- Cut, because every message has to fit into the index.
create or replace function pgembedd._party() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select $q$"left"(coalesce(q.message ->> 'pipeline', 'table ' || (q.message ->> 'table'), ''), 63) collate "C"$q$
$$;

create or replace function pgembedd._sharing_index_name(queue text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select format('q_%s_by_party', queue) $$;

-- By vt, not by msg_id: what is under a lease, waits for another attempt or was set aside lies behind what can be
-- claimed, however much of it there is. A message that comes back goes to the end of its party's line.
create or replace function pgembedd._sharing_index(queue text, online boolean default false) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('create index %s %I on %s ((%s), vt)', case when online then 'concurrently' end,
                  _sharing_index_name(queue), _queue_table(queue), replace(_party(), 'q.message', 'message'))
$$;

create or replace function pgembedd._dealt(queue text) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select i.indisvalid
       -- Postgres itself leaves an index alone that does not hold what an older snapshot may see.
       and (not i.indcheckxmin or age(i.xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid))
    from pg_index i
    where i.indexrelid = to_regclass(format('pgmq.%I', _sharing_index_name(queue)))
      and i.indrelid = to_regclass(_queue_table(queue))
$$;

-- The queues of all pipelines: whether several pipelines use one, its index and whether that is valid, whether the
-- claims can deal, whether the owner of pgembedd may make the index, and whether we may make it CONCURRENTLY.
create or replace function pgembedd._sharing()
returns table (queue text, shared boolean, index regclass, valid boolean, dealt boolean, may boolean, online boolean)
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select l.queue, l.users > 1, i.indexrelid::regclass, i.indisvalid, coalesce(_dealt(l.queue), false),
           pg_has_role(s.nspowner, c.relowner, 'usage') and has_schema_privilege(s.nspowner, 'pgmq', 'create'),
           c.relkind = 'r' and pg_has_role(current_user, c.relowner, 'usage')
               and has_schema_privilege('pgmq', 'create')
    from (select u.queue, count(*) as users from pipeline p
          cross join lateral unnest(array[p.queue, p.backfill_queue]) as u(queue) group by u.queue) l
    join pg_namespace s on s.nspname = 'pgembedd'
    join pg_namespace n on n.nspname = 'pgmq'
    join pg_class c on c.relnamespace = n.oid and c.relname = 'q_' || l.queue
    left join pg_class x on x.relnamespace = n.oid and x.relname = _sharing_index_name(l.queue)
    left join pg_index i on i.indexrelid = x.oid and i.indrelid = c.oid
$$;

-- Maintains these indexes: they exist while several pipelines share a queue. Not a part of create_pipeline(), whose
-- transaction may be long: until its end, no table of the queue could be written to.
create or replace function pgembedd._tend_queues() returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'  -- writers queue behind a session that waits
as $$
declare
    one record;
begin
    for one in select s.* from _sharing() s where s.may order by s.queue loop
        begin
            -- One that is not valid was broken off: who is building it holds a lock that we do not get.
            if one.index is not null and (not one.shared or not one.valid) then
                execute format('drop index %s', one.index);
            -- Writers wait while it is made, a tenth of a second for a queue of this size; workers build the others.
            elsif one.shared and one.index is null and _queue_bytes(one.queue) <= 16e6 then
                execute _sharing_index(one.queue);
            end if;
        exception
            when lock_not_available or transaction_rollback then null;  -- the next tick comes
            when others then raise warning 'the queue "%" is left as it is: %', one.queue, sqlerrm;
        end;
    end loop;
end $$;
