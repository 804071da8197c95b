-- As in _generate_chunks_write, rows are locked without waiting and compared by the hash of their file. Pages that
-- differ are put, those that are too many deleted. A page whose text is the same gets the new hash and keeps its text
-- in its place, so that a pipeline on the pages has nothing to do for it.
-- The file is hashed again, under the lock. Place and transaction of the row would be compared 0.1 s sooner for 20 MB,
-- but a server that lost its last transactions, as in a failover, gives their numbers to others.
-- Its parameters: keys and hashes of the rows, which of the jobs each is, and whether its pages stay as they are; of
-- each page that job, number, headings, text and metadata, in JSON; the fingerprint of the parser; the hashes of the
-- files, which are not those of rows that hold URIs.
create or replace function pgembedd_internal._generate_pages_write(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'write', 'pg_catalog.jsonb[], pg_catalog.bytea[], integer[], boolean[],
        pg_catalog.json, pg_catalog.text, pg_catalog.bytea[]',
        'table (n bigint, outcome pg_catalog.text)', 'set lock_timeout = ''2s''', format($body$
begin
    %s
    return query execute %L using $1, $2, $3, $4, $5, $6, $7;
    set constraints all immediate;
end $body$, _refuse_others(pipeline), _pages_write_query(pipeline)))
$$;

create or replace function pgembedd_internal._pages_write_query(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _table_write_query(pipeline, _pages_write_rows(), 'not l.current', jsonb_build_object(
        'hash', _file_hash(_file(pipeline, 's'))))
$$;

create or replace function pgembedd_internal._pages_write_rows() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select $q$
        with input as materialized (
            select i.n, i.hash, i.job, i.kept, i.file_hash, {key_columns}
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                            pg_catalog.unnest($7))
                with ordinality as i(id, hash, job, kept, file_hash, n)
            cross join lateral {key_record}),
        locked as materialized (
            select i.n, {hash} operator(pg_catalog.=) i.hash as current
            from input i join {source} s on {is_source_row}
            for no key update of s skip locked),
        new as materialized (
            select {input_keys}, i.n, i.file_hash as hash, p.page, p.headings, p.text, p.metadata
            from pg_catalog.json_to_recordset($5) as p(
                job integer, page integer, headings pg_catalog.text[], text pg_catalog.text,
                metadata pg_catalog.jsonb)
            join input i on i.job operator(pg_catalog.=) p.job join locked l on l.n operator(pg_catalog.=) i.n
            where l.current and not i.kept),
        due as materialized (
            select w.* from new w where not exists (
                select from input i join {table} e on {is_stored}
                where i.n operator(pg_catalog.=) w.n
                  and row(e.page, e.headings, e.text, e.metadata, e.content_hash, e.parser)::pg_catalog.record
                      operator(pg_catalog.*=)
                      row(w.page, w.headings, w.text, w.metadata, w.hash, $6)::pg_catalog.record)),
        removed as (
            delete from {table} e using input i left join locked l on l.n operator(pg_catalog.=) i.n
            where {is_stored} and case
                when l.n is null then not exists (select from {source} s where {is_source_row})
                else l.current and not i.kept
                     and not exists (select from new w where w.n operator(pg_catalog.=) i.n
                                     and w.page operator(pg_catalog.=) e.page) end
            returning i.n),
        put as (
            insert into {table} as e ({keys}, page, headings, text, metadata, content_hash, parser)
            select {due_keys}, d.page, d.headings, d.text, d.metadata, d.hash, $6 from due d
            on conflict ({keys}, page) do update set
                headings = excluded.headings, metadata = excluded.metadata,
                text = case when e.text operator(pg_catalog.=) excluded.text then e.text else excluded.text end,
                content_hash = excluded.content_hash, parser = excluded.parser, parsed_at = excluded.parsed_at)$q$
$$;
