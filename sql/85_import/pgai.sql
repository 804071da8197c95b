-- `pgembedd import pgai`: takes over pgai's vectors, except those of rows that changed since according to pgai's own
-- queue `pending`, which has the key's columns; it may be null.

create or replace function pgembedd_internal._pending(
    pipeline pgembedd_internal.pipeline, pending regclass, alias text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when pending is null then 'false'
                else format('exists (select from %s q where %s)', pending, _key_match(pipeline.source, 'q', alias)) end
$$;

-- Refuses tables that the owner of the source may not read: they are read together with the source, as its owner.
create or replace function pgembedd_internal._check_importable(
    pipeline pgembedd_internal.pipeline, tables regclass[]
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    owner constant regrole := _owner(pipeline.source);
    hidden record;
begin
    select c.oid::regclass as relation, c.relnamespace::regnamespace as schema into hidden
    from pg_class c where c.oid = any (tables)
      and not (has_schema_privilege(owner, c.relnamespace, 'usage') and has_table_privilege(owner, c.oid, 'select'))
    limit 1;
    if found then
        raise exception using
            message = format('%s, who owns %s, may not read %s.', owner, pipeline.source, hidden.relation),
            hint = format('GRANT USAGE ON SCHEMA %1$s TO %2$s; GRANT SELECT ON %3$s TO %2$s;', hidden.schema, owner,
                          hidden.relation), errcode = 'insufficient_privilege';
    end if;
end $$;

-- Copies chunks that carry (key, chunk_seq, chunk, embedding) into the embedding table of the pipeline; a chunk there
-- is the text that was embedded, formatting and all. A row is taken over as a whole or not at all: only when each of
-- its chunks is found in the row's content. Of a text that repeats, the offsets are those of its first occurrence; the
-- tokens were not counted, which 0 says. Returns how many rows of the source were taken over.
create or replace function pgembedd_internal._import_chunks(
    name text, chunks regclass, pending regclass, fingerprint text
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    ignored text := _check_importable(one, array[chunks, pending]);
    taken bigint;
begin
    execute format('select count(distinct k) from %s($1) as k', _pipeline_function(one.id, 'as_owner')) into taken
    using _render($q$
        with found as materialized (
            select {source_keys}, e.chunk_seq, e.chunk as embedded, e.embedding, c.piece, c.at,
                   pg_catalog.bool_and(coalesce(c.at operator(pg_catalog.>) 0, false))
                       over (partition by {source_keys}) as whole
            from {source} s
            join {imported} e on {is_source_row}
            cross join lateral (select {before} as before, {after} as after) a
            cross join lateral (
                select case when pg_catalog.starts_with(e.chunk, a.before)
                            then pg_catalog.substr(e.chunk, 1 operator(pg_catalog.+) pg_catalog.length(a.before)) end
                       as rest) r
            cross join lateral (
                select case when pg_catalog.right(r.rest, pg_catalog.length(a.after)) operator(pg_catalog.=) a.after
                            then pg_catalog.substr(r.rest, 1, pg_catalog.length(r.rest)
                                                              operator(pg_catalog.-) pg_catalog.length(a.after)) end
                       as piece) p
            cross join lateral (select p.piece, pg_catalog.strpos({content}, p.piece) as at) c
            where not {pending})
        insert into {chunks} as t ({keys}, chunk_index, chunk, start_offset, end_offset, embedding, content_hash, model,
                                   tokens, tokens_kept)
        select {found_keys}, f.chunk_seq, f.piece, f.at operator(pg_catalog.-) 1,
               f.at operator(pg_catalog.-) 1 operator(pg_catalog.+) pg_catalog.length(f.piece),
               f.embedding::{vector}, {hash}, {fingerprint}, 0, 0
        from found f where f.whole
        returning {key}
        $q$, _import_variables(one, chunks, pending) || jsonb_build_object('fingerprint', quote_literal(fingerprint)));
    perform pgembedd_internal._check_session();
    perform pin_model(one.id, fingerprint);
    return taken;
end $$;

create or replace function pgembedd_internal._import_variables(
    one pgembedd_internal.pipeline, chunks regclass, pending regclass
) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select jsonb_build_object(
        'keys', string_agg(format('%I', k), ', '), 'source_keys', string_agg(format('s.%I', k), ', '),
        'found_keys', string_agg(format('f.%I', k), ', '),
        'source', one.source, 'imported', chunks, 'chunks', one.embedding_table,
        'is_source_row', _key_match(one.source, 's', 'e'), 'content', _content(one, 's'),
        'before', case when one.formatting is null then '''''' else _around(one, 's', false) end,
        'after', case when one.formatting is null then '''''' else _around(one, 's', true) end,
        'pending', _pending(one, pending, 's'), 'vector', _vectors_type(one), 'hash', _hash('f.embedded'),
        'key', _key_json(one.source, 't'))
    from unnest(one.key_columns) as k
$$;

-- Queues the rows whose vectors are out of date according to pgai. Returns how many.
create or replace function pgembedd_internal._import_pending(name text, pending regclass) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    ignored text := _check_importable(one, array[pending]);
begin
    return _enqueue_rows(one, 'jsonb_array_elements($1)', _ask(one, format(
        'select coalesce(pg_catalog.jsonb_agg(%s), ''[]'') from %s s where %s and not %s', _key_json(one.source, 's'),
        one.source, _pending(one, pending, 's'), _lacks_vector(one))));
end $$;
