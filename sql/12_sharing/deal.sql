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
        -- In a random order: where there are fewer places than parties, each party gets its turn.
        select array_agg(party.name order by random())
        from (select party.* from party limit 10000) party
        where party.vt <= $1 and not exists (
            select from pgembedd.pipeline p where p.id::text = party.name and p.state <> 'running')
        $q$, _party(), _queue_table(queue)) into parties using at;
    return parties;
end $$;
