create or replace function pgembedd_internal._generate_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[]', 'table (n bigint, content pg_catalog.text)',
        'set lock_timeout = ''2s''', format(E'#variable_conflict use_column\nbegin %s %s end', _refuse_others(pipeline),
        _return_by_key(pipeline, _render($q$
        select i.n, {content} from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral {key_record}
        join {source} s on {is_source_row} $q$, jsonb_build_object(
            'content', _content(pipeline, 's'), 'key_record', _key_record(pipeline.source, 'i.id'),
            'source', pipeline.source, 'is_source_row', _key_match(pipeline.source, 's', 'k'))), '$1')))
$$;

-- Returns the rows of a query over the source by key. To parse and to plan it takes longer than to run it for some
-- rows, so its plan is kept, where that cannot be one that scans the table: one from when the table was small would
-- still do so when it is large, and so would one of what a content function reads.
create or replace function pgembedd_internal._return_by_key(
    pipeline pgembedd_internal.pipeline, query text, arguments text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select concat(
        case when pipeline.content_function is null then format(
            'if pg_catalog.pg_relation_size(%L) operator(pg_catalog.>) %s then return query %s; else ',
            pipeline.source, 4 * 1024 * 1024, query) end,
        format('return query execute %L using %s;', query, arguments),
        case when pipeline.content_function is null then ' end if;' end)
$$;

-- With the content, the text to put around each chunk and the hashes of the chunks that are stored already.
create or replace function pgembedd_internal._generate_chunks_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[], pg_catalog.text',
        'table (n bigint, content pg_catalog.text, hash pg_catalog.bytea, before pg_catalog.text, '
        'after pg_catalog.text, known pg_catalog.bytea[])',
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
            'before', _around(pipeline, 's', false), 'after', _around(pipeline, 's', true),
            'chunks', pipeline.embedding_table, 'is_chunk', _key_match(pipeline.source, 'e', 's'),
            'key_record', _key_record(pipeline.source, 'i.id'), 'source', pipeline.source,
            'is_source_row', _key_match(pipeline.source, 's', 'k')))))
$$;

-- Files are large: the size comes first, and a file above the bound, $3, or behind as many bytes of others of the same
-- call, is not read. One whose pages have its hash and are of the parser $2 is not sent; one of a row without pages is
-- sent with an empty hash, which the worker computes. A hash that is null says that the file was not read.
create or replace function pgembedd_internal._generate_pages_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[], pg_catalog.text, pg_catalog.int8',
        'table (n bigint, size bigint, hash pg_catalog.bytea, same boolean, file pg_catalog.bytea)',
        'set lock_timeout = ''2s''', format('begin %s return query execute %L using $1, $2, $3; end',
        _refuse_others(pipeline), _render($q$
        select r.n, r.size, h.hash, h.same, case when h.hash is not null and not h.same then {file} end
        from (
            select i.n, s.{column}, z.size,
                   pg_catalog.sum(z.size) filter (where z.size operator(pg_catalog.<=) $3) over (order by i.n) as total,
                   array(select distinct case when e.parser operator(pg_catalog.=) $2 then e.content_hash else '' end
                         from {pages} e where {is_page}) as known
            from pg_catalog.unnest($1) with ordinality as i(id, n)
            cross join lateral {key_record}
            join {source} s on {is_source_row}
            cross join lateral (
                select coalesce(pg_catalog.octet_length(s.{column}), 0)::pg_catalog.int8 as size) z) r
        cross join lateral (
            select g.hash, g.hash is not null and r.known operator(pg_catalog.=) array[g.hash] as same
            from (select case when r.size operator(pg_catalog.<=) $3 and r.total operator(pg_catalog.<=) $3
                              then case when r.known operator(pg_catalog.=) '{}' then '' else {hash} end
                              end as hash offset 0) g) h $q$, jsonb_build_object(
            'file', _file(pipeline, 'r'), 'hash', _file_hash(_file(pipeline, 'r')),
            'column', quote_ident(_file_column(pipeline)),
            'pages', pipeline.embedding_table, 'is_page', _key_match(pipeline.source, 'e', 's'),
            'key_record', _key_record(pipeline.source, 'i.id'), 'source', pipeline.source,
            'is_source_row', _key_match(pipeline.source, 's', 'k')))))
$$;

-- The URIs of files, cut where they are too long to be one; and the hashes of the files that the pages of each row are
-- of, an empty one standing for pages of another parser than $2.
create or replace function pgembedd_internal._generate_uris_read(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'read', 'pg_catalog.jsonb[], pg_catalog.text',
        'table (n bigint, uri pg_catalog.text, hash pg_catalog.bytea, known pg_catalog.bytea[])',
        'set lock_timeout = ''2s''', format('begin %s return query execute %L using $1, $2; end',
        _refuse_others(pipeline), _render($q$
        select i.n, pg_catalog."left"(s.{column}::pg_catalog.text, 8001), {hash},
               array(select distinct case when e.parser operator(pg_catalog.=) $2 then e.content_hash else '' end
                     from {pages} e where {is_page})
        from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral {key_record}
        join {source} s on {is_source_row} $q$, jsonb_build_object(
            'hash', _file_hash(_file(pipeline, 's')), 'column', quote_ident(_file_column(pipeline)),
            'pages', pipeline.embedding_table, 'is_page', _key_match(pipeline.source, 'e', 's'),
            'key_record', _key_record(pipeline.source, 'i.id'), 'source', pipeline.source,
            'is_source_row', _key_match(pipeline.source, 's', 'k')))))
$$;
