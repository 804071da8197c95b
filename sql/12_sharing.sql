-- How pipelines share a queue. pgmq hands messages out in the order of their arrival, so whoever sends a million
-- would stand before everybody else. A queue that several pipelines share gets an index by party, and a claim deals
-- its places evenly among the parties that have something waiting. A queue with one pipeline has no such index, and
-- is read in the order of arrival: it pays nothing for this.

-- Whose message it is, for format(): a pipeline's, by our own name for it; one of other people's triggers, by the
-- table it names; or nobody's. Cut, because whatever somebody sends has to fit into the index.
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
-- claims can deal, whether whoever owns pgembedd may make the index, and whether we may make it CONCURRENTLY.
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

-- The upkeep of these indexes: there while several pipelines share a queue, gone after that. Not a part of
-- create_pipeline(), whose transaction may be long: until it ended, nobody could write to any table of the queue.
create or replace function pgembedd._tend_queues() returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'  -- writers queue behind whoever waits
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

create or replace function pgembedd._queue_bytes(queue text) returns bigint
language sql volatile
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select coalesce(sum(pg_relation_size(t.relid)), pg_relation_size(_queue_table(queue)))::bigint
    from pg_partition_tree(_queue_table(queue)) t  -- has no rows where there are no partitions
$$;

-- What pgmq.read does to the messages that `chosen` selects, whose parameter $1 is the lease. A join, as in pgmq, goes
-- through the whole queue for each message where an ANALYZE took it for empty, as it does during a bulk load. `noting` is
-- what else to set.
create or replace function pgembedd._take(queue text, chosen text, noting text default '') returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$
        update %s m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1%s%s where m.msg_id = any (array(%s))
        returning m.msg_id, m.read_ct, m.message, m.headers, m.enqueued_at
        $q$, _queue_table(queue), case when exists (
                select from pg_attribute a where a.attrelid = to_regclass(_queue_table(queue))
                and a.attname = 'last_read_at' and not a.attisdropped)
            then ', last_read_at = clock_timestamp()' end, noting, chosen)
$$;

-- In the order of arrival, as pgmq.read.
create or replace function pgembedd._take_oldest(queue text, qty integer, lease_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q where q.vt <= clock_timestamp() order by q.msg_id limit $2 for update skip locked
        $q$, _queue_table(queue))) using make_interval(secs => lease_s), qty;
end $$;

-- With the places dealt evenly; what one party leaves over goes to the others.
create or replace function pgembedd._deal(queue text, qty integer, lease_s integer)
returns table (msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamptz)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
-- The index gives everything in order; a plan that sorts instead reads the whole queue.
set enable_sort = off set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    at timestamptz := clock_timestamp();  -- a value, because no index is searched for clock_timestamp()
    places integer := qty;
    dealt integer;
    parties text[];
begin
    while places > 0 loop
        parties := _waiting_parties(queue, at);
        exit when parties is null;
        return query execute _take(queue, format($q$
            select d.msg_id from unnest($2) with ordinality as party(name, nth)
            cross join lateral (
                select q.msg_id from %2$s q
                -- Of equal party; but an equality would let the planner take pgmq's index by vt alone.
                where (%1$s, q.vt) >= (party.name, '-infinity') and (%1$s, q.vt) <= (party.name, $4)
                order by %1$s, q.vt
                limit $3 / cardinality($2) + (party.nth <= $3 %% cardinality($2))::integer
                for update skip locked) d
            $q$, _party(), _queue_table(queue))) using make_interval(secs => lease_s), parties, places, at;
        get diagnostics dealt = row_count;
        exit when dealt = 0;  -- others hold what there is
        places := places - dealt;
    end loop;
end $$;

-- The parties that have something to be claimed, in any order. One look into the index for each that has messages,
-- at the first of them. Jobs of a pipeline that does not run stay where they are.
create or replace function pgembedd._waiting_parties(queue text, at timestamptz) returns text[]
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    parties text[];
begin
    execute format($q$
        with recursive party(name, vt) as (
            (select %1$s, q.vt from %2$s q order by %1$s, q.vt limit 1)
            union all
            select n.name, n.vt from party cross join lateral (
                select %1$s as name, q.vt from %2$s q where %1$s > party.name order by %1$s, q.vt limit 1) n)
        -- In a random order: where there are fewer places than parties, everybody's turn comes.
        select array_agg(party.name order by random())
        from (select party.* from party limit 10000) party
        where party.vt <= $1 and not exists (
            select from pgembedd.pipeline p where p.id::text = party.name and p.state <> 'running')
        $q$, _party(), _queue_table(queue)) into parties using at;
    return parties;
end $$;
