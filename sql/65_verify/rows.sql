-- Rows by key as they are: content and hash as the worker gets them, what is stored, and what is known of the row:
-- dead, queued (asked for by `with_queues` only, as it reads the queues), or nothing. What is stored comes in arrays
-- with one element a vector, embeddings in single precision; those of chunk_indexes and on are of embedding tables
-- and of tables of pages only; a page has no vector and its parser as model, and of a file the content is not sent. The
-- content of a dead row is not asked for: its content function may be what it died of.
create or replace function pgembedd_internal._look_at(name text, ids jsonb[], with_queues boolean)
returns table (n bigint, state text, content text, hash bytea, noted text, embeddings real[], before text, after text,
               chunk_indexes integer[], start_offsets integer[], end_offsets integer[], hashes bytea[], models text[])
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    notes text[] := _noted(one, ids, with_queues);
    -- What it has not come to is queued as well.
    backfilled text := (select b.scope from open_backfill b where b.pipeline_id = one.id and with_queues);
begin
    return query execute _render($q$
        with living as (
            select array_agg(i.id order by i.n) as ids, array_agg(i.n order by i.n) as ns
            from unnest($1, $2) with ordinality as i(id, noted, n) where i.noted is distinct from 'dead')
        select i.n, r.state, r.content, r.hash,
               coalesce(i.noted, case when $4 <> 'lacking' or $4 is not null and s.embeddings is null
                                 then 'queued' end), s.embeddings, r.before, r.after, s.chunk_indexes,
               s.start_offsets, s.end_offsets, s.hashes, s.models
        from unnest($1, $2) with ordinality as i(id, noted, n)
        left join (select l.ns[r.n] as n, r.state, {content} as content, r.hash, {around}
                   from living l, pgembedd_internal.{read} r) r on r.n = i.n
        left join jsonb_to_recordset($3) as s(
            n bigint, embeddings real[], chunk_indexes integer[], start_offsets integer[], end_offsets integer[],
            hashes bytea[], models text[]) on s.n = i.n
        order by i.n
        $q$, jsonb_build_object(
        'around', case when one.embedding_table is null or one.task = 'parse'
                       then 'null::text as before, null::text as after' else 'r.before, r.after' end,
        'content', case one.task when 'parse' then 'null::text' else 'r.content' end,
        'read', format(case when one.uri_prefixes is not null then '_read_fetched(%s, l.ids)'
                            when one.task = 'parse' then 'read_files(%s, l.ids, '''', 9000000000000000000)'
                            when one.embedding_table is null then 'read(%s, l.ids)'
                            else 'read_chunks(%s, l.ids)' end, one.id)))
        using ids, notes, _stored(one, ids), backfilled;
end $$;

-- What is stored for each of the keys, as an array of objects with the columns of _look_at.
create or replace function pgembedd_internal._stored(made pgembedd_internal.pipeline, ids jsonb[]) returns jsonb
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- as many digits as tell two numbers apart
as $$
    select _ask(made, _render($q$
        select coalesce(pg_catalog.jsonb_agg(v), '[]') from (
            select i.n, {stored} from pg_catalog.unnest({ids}::pg_catalog.jsonb[]) with ordinality as i(id, n)
            cross join lateral {key_record} join {vectors} s on {is_row} group by i.n) v
        $q$, jsonb_build_object(
        'ids', quote_literal(ids), 'key_record', _key_record(made.source, 'i.id'), 'vectors', _target(made),
        'is_row', _key_match(made.source, 's', 'k'), 'stored', case when made.embedding_table is null then format(
            'pg_catalog.array_agg(s.%1$I::real[]) filter (where s.%1$I is not null) as embeddings',
            made.embedding_column)
        else (select string_agg(format('pg_catalog.array_agg(%s order by s.%s) as %s', c.value,
                                       (_table_key(made))[cardinality(made.key_columns) + 1], c.name), ', ')
              from (values ('embed', 's.embedding::real[]', 'embeddings'), ('embed', 's.chunk_index', 'chunk_indexes'),
                           ('embed', 's.start_offset', 'start_offsets'), ('embed', 's.end_offset', 'end_offsets'),
                           ('embed', 's.content_hash', 'hashes'), ('embed', 's.model', 'models'),
                           ('parse', '0::real', 'embeddings'), ('parse', 's.page', 'chunk_indexes'),
                           ('parse', '0', 'start_offsets'), ('parse', '0', 'end_offsets'),
                           ('parse', 's.content_hash', 'hashes'), ('parse', 's.parser', 'models'))
                   as c(task, value, name) where c.task = made.task) end)))
$$;

-- The state of each row, in order: dead, queued or null.
create or replace function pgembedd_internal._noted(
    made pgembedd_internal.pipeline, ids jsonb[], with_queues boolean
) returns text[]
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    queue text;
    here jsonb[];
    queued jsonb[] := '{}';
begin
    if with_queues then
        foreach queue in array _queues() loop
            execute format('select array_agg(q.message -> ''id'') from %s '
                           'q where q.message -> ''id'' = any ($1) and %s',
                _queue_table(queue), _is_for(made.id)) into here using ids;
            queued := queued || here;
        end loop;
    end if;
    return array(
        select case when i.id = any (queued) then 'queued' when r.state = 'dead' then 'dead' end
        from unnest(ids) with ordinality as i(id, n)
        left join row_state r on r.pipeline_id = made.id and r.key = i.id
            and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(i.id, 0)
        order by i.n);
end $$;
