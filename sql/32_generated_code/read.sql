create or replace function pgembedd_internal._generate_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[]', 'table (n bigint, content text)',
        'set lock_timeout = ''2s''', format('begin %s return query execute %L using $1; end', _refuse_others(pipeline),
        _render($q$
        select i.n, {content} from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral {key_record}
        join {source} s on {is_source_row} $q$, jsonb_build_object(
            'content', _content(pipeline, 's'), 'key_record', _key_record(pipeline.source, 'i.id'),
            'source', pipeline.source, 'is_source_row', _key_match(pipeline.source, 's', 'k')))))
$$;

-- With the content, the text to put around each chunk and the hashes of the chunks that are stored already.
create or replace function pgembedd_internal._generate_chunks_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[], pg_catalog.text',
        'table (n bigint, content text, hash bytea, before text, after text, known bytea[])',
        'set lock_timeout = ''2s''', format('begin %s return query execute %L using $1, $2; end',
        _refuse_others(pipeline), _render($q$
        select r.n, r.content, {row_hash}, r.before, r.after, r.known
        from (
            select i.n, {content} as content, {before} as before, {after} as after,
                   array(select e.content_hash from {chunks} e
                         where {is_chunk} and e.model operator(pg_catalog.=) $2) as known
            from pg_catalog.unnest($1) with ordinality as i(id, n)
            cross join lateral {key_record}
            join {source} s on {is_source_row}) r $q$, jsonb_build_object(
            'row_hash', _row_hash(pipeline, 'r.content', 'r.before', 'r.after'), 'content', _content(pipeline, 's'),
            'before', _around(pipeline.formatting, 's', false), 'after', _around(pipeline.formatting, 's', true),
            'chunks', pipeline.embedding_table, 'is_chunk', _key_match(pipeline.source, 'e', 's'),
            'key_record', _key_record(pipeline.source, 'i.id'), 'source', pipeline.source,
            'is_source_row', _key_match(pipeline.source, 's', 'k')))))
$$;
