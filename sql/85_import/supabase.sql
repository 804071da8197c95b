-- `pgembedd import supabase`: a pipeline in the place of the triggers of Supabase's guide to automatic embeddings. The
-- triggers are kept as definitions, and a message of the guide's queue travels in ours, whole, under `imported`; so
-- supabase_undo.sql can put back what was there.

-- The content function that a trigger names. The name is no SQL: dots part it, and nothing folds it. It may have its
-- schema before it; if not, it is looked for next to the table and in public.
create or replace function pgembedd_internal._named_function(source regclass, given text) returns regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, E'^.*\\.', ''), source))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    cross join lateral unnest(case when given like '%.%' then array[substring(given from E'^(.*)\\.')]
                                   else array[n.nspname::text, 'public'] end) with ordinality as s(name, nth)
    where c.oid = source
      and to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, E'^.*\\.', ''), source)) is not null
    order by s.nth limit 1
$$;

-- A name for the pipeline of a column that no other has.
create or replace function pgembedd_internal._free_pipeline_name(source regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when n.nth = 1 then b.base else b.base || '-' || n.nth end
    from (select coalesce(nullif(ltrim(left(regexp_replace((select relname from pg_class where oid = source)
            || '.' || embedding_column, '[^A-Za-z0-9_.-]+', '_', 'g'), 50), '.-'), ''), 'imported') as base) b
    cross join generate_series(1, (select count(*) + 1 from pipeline)) as n(nth)
    where not exists (select from pipeline p where p.name = case when n.nth = 1 then b.base
                                                                 else b.base || '-' || n.nth end)
    order by n.nth limit 1
$$;

-- The distance of the column's index; cosine where there is none.
create or replace function pgembedd_internal._indexed_distance(source regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select case when o.opcname like E'%\\_l2\\_ops' then 'l2' when o.opcname like E'%\\_ip\\_ops' then 'ip' end
        from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        join pg_opclass o on o.oid = i.indclass[0]
        where i.indrelid = source and a.attname = embedding_column
        order by o.opcname not like '%cosine%' desc, i.indexrelid limit 1), 'cosine')
$$;

-- Records triggers before they are dropped. `content_function` is the trigger's argument. The definition is read under
-- the search_path that it is executed with again.
create or replace function pgembedd_internal._record_triggers(
    source regclass, embedding_column text, content_function text, names text[]
) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    insert into imported_trigger (
        source, source_name, embedding_column, content_function, name, definition, enabled, column_type)
    select source, source::text, embedding_column, content_function, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled,
           _column_type(source, embedding_column)
    from pg_trigger t where t.tgrelid = source and t.tgname = any (names) and not t.tgisinternal
    on conflict on constraint imported_trigger_pkey do update
    set source_name = excluded.source_name, embedding_column = excluded.embedding_column,
        content_function = excluded.content_function, definition = excluded.definition, enabled = excluded.enabled,
        imported_at = excluded.imported_at, column_type = excluded.column_type
$$;

create or replace function pgembedd_internal._column_type(source regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.typname || coalesce('(' || nullif(a.atttypmod, -1) || ')', '')
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = source and a.attname = embedding_column and not a.attisdropped
$$;

-- FROM item `k` (id, key): what the guide's trigger sends of a row, `id`, next to the key as our messages have it. Only
-- for a table whose primary key is not just that column, as of a partitioned one; else null.
create or replace function pgembedd_internal._ids_and_keys(
    one pgembedd_internal.pipeline, ids text[] default null
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('(select v.pair -> 0 as id, v.pair -> 1 as key from %s(%L) as v(pair)) k',
        _pipeline_function(one.id, 'as_owner'),
        format('select pg_catalog.jsonb_build_array(s.id, %s) from %s s where %s', _key_json(one.source, 's'),
            one.source, case when ids is null then 'true'
                             else format('s.id::text operator(pg_catalog.=) any (%L::text[])', ids) end))
    from pg_attribute a
    where a.attrelid = one.source and a.attname = 'id' and not a.attisdropped and one.key_columns <> '{id}'
$$;

-- Moves the guide's jobs of a pipeline's column, those of partitions, too, into our queue, each under the lease that it
-- has. What names no row stays where it is. Returns how many.
create or replace function pgembedd_internal._import_messages(name text) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    ids text[];
    moved bigint;
begin
    if to_regclass('pgmq.q_embedding_jobs') is null then return 0; end if;
    execute format($q$select array_agg(q.message ->> 'id') from pgmq.q_embedding_jobs q where %s$q$, _is_of_column(one))
        into ids;
    execute format($q$
        with job as materialized (
            select q.msg_id, array_agg(k.key) as keys from pgmq.q_embedding_jobs q join %s
            where q.message ->> 'id' is not null and %s group by q.msg_id),
        taken as (
            delete from pgmq.q_embedding_jobs q using job j where q.msg_id = j.msg_id
            returning to_jsonb(q) as original, q.vt, q.enqueued_at, j.keys)
        insert into pgmq.q_pgembedd_fresh (vt, enqueued_at, message)
        select t.vt, t.enqueued_at, jsonb_build_object('id', k.key, 'pipeline', %s)
               || case when k.n = 1 then jsonb_build_object('imported', t.original) else '{}' end
        from taken t cross join unnest(t.keys) with ordinality as k(key, n) order by (t.original ->> 'msg_id')::bigint
        $q$, coalesce(_ids_and_keys(one, ids) || $q$ on k.id = q.message -> 'id'$q$,
                      $q$lateral (select q.message -> 'id' as key) k on true$q$), _is_of_column(one), one.id);
    get diagnostics moved = row_count;
    perform pgembedd_internal._check_session();
    if moved > 0 then perform _wake('pgembedd_fresh'); end if;
    return moved;
end $$;

-- The condition that the guide's message `q` is about the pipeline's column, of the table or one of its partitions.
create or replace function pgembedd_internal._is_of_column(one pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        q.message ->> 'embeddingColumn' = %L and (q.message ->> 'schema', q.message ->> 'table') in (
            select n.nspname, c.relname
            from (select %2$s::oid union select relid from pg_partition_tree(%2$s)) t(oid)
            join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace)
        $q$, one.embedding_column, one.source::oid)
$$;
