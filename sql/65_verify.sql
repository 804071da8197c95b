-- Are the vectors the right ones? `pgembedd verify` takes keys from here, looks at their rows, embeds the contents
-- again and compares. Called by whoever may act for pgembedd's owner and the table's: all with the caller's rights.

-- What stands in the way of looking at a pipeline's vectors, raised as a sentence.
create or replace function pgembedd._check_verify(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if _problem(made) is not null then
        perform _refuse(format('The pipeline "%s" cannot be verified: %s', made.name, _problem(made)));
    end if;
    perform _check_owner(made);
end $$;

-- How many rows the planner thinks there are: of all partitions, by the size they have now, without a scan.
create or replace function pgembedd._estimated_rows(source regclass) returns bigint
language plpgsql  -- volatile: only such may EXPLAIN
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    plan json;
begin
    execute format('explain (format json) select from %s', source) into plan;
    return (plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric;
end $$;

-- Up to `wanted` keys at random, the same ones for the same seed while the table stays as it is. A small table is read
-- whole. Of a large one blocks are drawn, many more rows than are wanted so that neighbours seldom come together; more
-- blocks if those were empty. Keys are drawn by hash, so that what is read first has no better chance than the rest.
-- With `orphans` the keys of chunks are drawn, and those come that no row of the source has.
create or replace function pgembedd._sample_keys(name text, wanted integer, seed bigint, orphans boolean default false)
returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    one pgembedd.pipeline := _pipeline(name);
    relation regclass := case when orphans then one.embedding_table else one.source end;
    estimated bigint := greatest(_estimated_rows(relation), 1);
    percent double precision := case when estimated <= 100000 then 100 else least(100, 100.0 * 20 * wanted / estimated) end;
    keys jsonb[];
begin
    loop
        execute format($q$
            select array_agg(w.id) from (
                select d.id from (select %1$s as id from %2$s s %3$s limit %4$s) d
                group by d.id order by pg_catalog.hashtextextended(d.id::text, $1), d.id limit %5$s) w
            $q$, _key_json(one.source, 's'), relation,
            case when percent < 100 then format('tablesample system (%s) repeatable (%s)', percent, seed) else '' end,
            -- Where the estimate is far too low, a bounded part of the table is the sample.
            greatest(1000000, 200::bigint * wanted), wanted) into keys using seed;
        exit when percent >= 100 or coalesce(cardinality(keys), 0) >= wanted;
        percent := least(100, percent * 8);
    end loop;
    if orphans then
        return query execute format('select i.id from unnest($1) as i(id) cross join lateral %s
                                     where not exists (select from %s s where %s)',
            _key_record(one.source, 'i.id'), one.source, _key_match(one.source, 's', 'k')) using keys;
    else
        return query select unnest(keys);
    end if;
end $$;

-- The keys after `after` in the order of the primary key, null for the first; a page of at most so many. The operators
-- are those of the key's own index, so that it serves the order, whatever types and schemas there are. With `orphans`
-- it goes through the chunks that no row of the source has; a key comes once for each of its chunks then.
create or replace function pgembedd._next_keys(name text, after jsonb, at_most integer, orphans boolean default false)
returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    one pgembedd.pipeline := _pipeline(name);
    later text;
    by_key text;
begin
    with columns as (
        select k.nth, format('s.%I%s', k.name, k.compared) as ours, format('k.%I%s', k.name, k.compared) as theirs, k.equals,
               _key_operator(one.source, k.nth, 1) as less, _key_operator(one.source, k.nth, 5) as greater,
               _key_operator(one.source, k.nth, 4) as not_less
        from _key_columns(one.source) k)
    select string_agg(format('%s using %s', c.ours, c.less), ', ' order by c.nth),
           -- The first column alone once more, outside of the OR, where the index can use it.
           format('%s and (%s)', min(format('%s %s %s', c.ours, c.not_less, c.theirs)) filter (where c.nth = 1),
               string_agg(concat_ws(' and ',
                   (select string_agg(format('%s %s %s', b.ours, b.equals, b.theirs), ' and ') from columns b where b.nth < c.nth),
                   format('%s %s %s', c.ours, c.greater, c.theirs)), ' or ' order by c.nth))
    into by_key, later from columns c;
    return query execute format('select %s from %s s%s where %s and %s order by %s limit %s',
        _key_json(one.source, 's'), case when orphans then one.embedding_table else one.source end,
        case when after is not null then ', ' || _key_record(one.source, '$1') else '' end,
        case when after is not null then later else 'true' end,
        case when orphans then format('not exists (select from %s x where %s)', one.source, _key_match(one.source, 'x', 's'))
             else 'true' end,
        by_key, at_most) using after;
end $$;

-- An operator of the primary key's nth column, by its btree strategy: 1 less, 4 not less, 5 greater.
create or replace function pgembedd._key_operator(source regclass, nth bigint, strategy integer) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('operator(%I.%s)', n.nspname, o.oprname)
    from pg_index i
    join pg_opclass c on c.oid = (i.indclass::oid[])[nth - 1]
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = strategy
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where i.indrelid = source and i.indisprimary
$$;

-- Rows by key as they are: content and hash as the worker gets them, what is stored, and what is known of the row:
-- dead, queued (asked for by `with_queues` only, as it reads the queues), or nothing. What is stored comes in arrays
-- with one element a vector, embeddings in single precision; those of chunk_nos and on are of embedding tables only.
-- The content of a dead row is not asked for: its content function may be what it died of.
create or replace function pgembedd._look_at(name text, ids jsonb[], with_queues boolean)
returns table (n bigint, state text, content text, hash bytea, noted text, embeddings real[], before text, after text,
               chunk_nos integer[], start_offsets integer[], end_offsets integer[], hashes bytea[], models text[])
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd.pipeline := _pipeline(name);
    noted text[] := _noted(one, ids, with_queues);
begin
    return query execute format($q$
        with living as (
            select array_agg(i.id order by i.n) as ids, array_agg(i.n order by i.n) as ns
            from unnest($1, $2) with ordinality as i(id, noted, n) where i.noted is distinct from 'dead')
        select i.n, r.state, r.content, r.hash, i.noted, s.embeddings, r.before, r.after, s.chunk_nos, s.start_offsets,
               s.end_offsets, s.hashes, s.models
        from unnest($1, $2) with ordinality as i(id, noted, n)
        left join (select l.ns[r.n] as n, r.state, r.content, r.hash, %1$s from living l, pgembedd.%2$s(%3$s, l.ids) r) r
            on r.n = i.n
        left join lateral (select %4$s from %5$s, %6$s s where %7$s) s on true
        order by i.n
        $q$,
        case when one.embedding_table is null then 'null::text as before, null::text as after' else 'r.before, r.after' end,
        case when one.embedding_table is null then 'read' else 'read_chunks' end, one.id, _stored(one),
        _key_record(one.source, 'i.id'), _target(one), _key_match(one.source, 's', 'k')) using ids, noted;
end $$;

-- The columns of _look_at that say what is stored, of the row or the chunks `s`.
create or replace function pgembedd._stored(made pgembedd.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when made.embedding_table is null then format(
        'array_agg(s.%1$I::real[]) filter (where s.%1$I is not null) as embeddings, null::integer[] as chunk_nos,
         null::integer[] as start_offsets, null::integer[] as end_offsets, null::bytea[] as hashes, null::text[] as models',
        made.embedding_column)
    else
        'array_agg(s.embedding::real[] order by s.chunk_no) as embeddings, array_agg(s.chunk_no order by s.chunk_no) as chunk_nos,
         array_agg(s.start_offset order by s.chunk_no) as start_offsets,
         array_agg(s.end_offset order by s.chunk_no) as end_offsets,
         array_agg(s.content_hash order by s.chunk_no) as hashes, array_agg(s.model order by s.chunk_no) as models' end
$$;

-- What is known of each row, in order: dead, queued or null.
create or replace function pgembedd._noted(made pgembedd.pipeline, ids jsonb[], with_queues boolean) returns text[]
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    queue text;
    here jsonb[];
    queued jsonb[] := '{}';
begin
    if with_queues then
        foreach queue in array array[made.queue, made.backfill_queue] loop
            execute format('select array_agg(q.message -> ''id'') from %s q where q.message -> ''id'' = any ($1) and %s',
                _queue_table(queue), _is_for(made.id)) into here using ids;
            queued := queued || here;
        end loop;
    end if;
    return array(
        select case when i.id = any (queued) then 'queued' when r.state = 'dead' then 'dead' end
        from unnest(ids) with ordinality as i(id, n)
        left join row_state r on r.pipeline_id = made.id and r.key = i.id
        order by i.n);
end $$;

create or replace function pgembedd.requeue(name text, ids jsonb[]) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    one pgembedd.pipeline := _sound(name);
    -- The key is written down again as the triggers write it, whatever way it was given. Of an embedding table also keys
    -- whose row is gone: the worker finds that out and removes their chunks.
    keys text := (
        select string_agg(format('select distinct %s as id from unnest($1) as i(id) cross join lateral %s join %s s on %s',
            _key_json(one.source, 's'), _key_record(one.source, 'i.id'), t.relation, _key_match(one.source, 's', 'k')), ' union ')
        from unnest(array[one.source, one.embedding_table]) as t(relation) where t.relation is not null);
    queued bigint;
begin
    execute _enqueue(one, one.backfill_queue, 'w.id', format($q$(
        with k as materialized (%1$s),
        there as materialized (
            select q.message -> 'id' as id from %2$s q where q.message -> 'id' in (select k.id from k) and %4$s
            union all
            select q.message -> 'id' from %3$s q where q.message -> 'id' in (select k.id from k) and %4$s)
        select k.id from k where not exists (select from there t where t.id = k.id)) w$q$,
        keys, _queue_table(one.queue), _queue_table(one.backfill_queue), _is_for(one.id))) using ids;
    get diagnostics queued = row_count;
    if one.embedding_table is not null then
        -- No chunk is to be taken over for its text: its vector may be what is wrong.
        perform _distrust(one, ids);
    end if;
    if queued > 0 then perform _wake(one.backfill_queue); end if;
    return queued;
exception when data_exception or integrity_constraint_violation then  -- of a domain, too
    perform _refuse(format('One of the ids is no key of %s: %s.', one.source, sqlerrm),
        'Give bare values, as in ''7'' or ''"a"'', or for a composite key objects with its columns.');
end $$;
comment on function pgembedd.requeue is
    'Queue rows by key, whether they have a vector or not; those that are queued or gone are left out. Returns how many.';
