-- As in _generate_write, rows are locked without waiting and compared by hash; this also keeps two workers from writing
-- the chunks of one row at once, and a row from being deleted while its chunks are written. A chunk without a vector
-- has the text of a stored chunk and takes over its vector; where that one is gone by now, the row is read again. A
-- chunk that is stored already is not touched, so that its index entry stays as it is.
-- Its parameters: keys and hashes of the rows and which of the jobs each is; of each chunk that job, number, text,
-- offsets, hash, vector, tokens and tokens kept; the fingerprint.
create or replace function pgembedd_internal._generate_chunks_write(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'write', format(
        'pg_catalog.jsonb[], pg_catalog.bytea[], integer[], integer[], integer[], pg_catalog.text[], integer[],
         integer[], pg_catalog.bytea[], %s[], integer[], integer[], pg_catalog.text', _vector_type('vector')),
        'table (n bigint, outcome pg_catalog.text)', 'set lock_timeout = ''2s''', format($body$
begin
    %s
    return query execute %L using $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13;
    set constraints all immediate;
end $body$, _refuse_others(pipeline), _chunks_write_query(pipeline)))
$$;

create or replace function pgembedd_internal._chunks_write_query(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _table_write_query(pipeline, _chunks_write_rows() || _chunks_write_changes(),
        'not l.current or exists (select from short x where x.n operator(pg_catalog.=) i.n)', jsonb_build_object(
        'row_hash', _row_hash(pipeline, _content(pipeline, 's'), _around(pipeline, 's', false),
                              _around(pipeline, 's', true)),
        'vector', _vectors_type(pipeline)))
$$;

-- The statement that writes chunks or pages, and says what became of each row of the source. `changes` is its WITH,
-- with `input`, `locked`, `new`, `due` and `removed`; `changed` is the condition that a row is to be read again;
-- `names` are the further names in braces.
create or replace function pgembedd_internal._table_write_query(
    pipeline pgembedd_internal.pipeline, changes text, changed text, names jsonb
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render(changes || $q$
        select i.n, case
            when l.n is null and exists (select from {source} s where {is_source_row}) then 'locked'
            when l.n is null then 'gone'
            when {changed} then 'changed'
            when exists (select from due d where d.n operator(pg_catalog.=) i.n) then 'written'
            when not exists (select from removed r where r.n operator(pg_catalog.=) i.n) then 'unchanged'
            when not exists (select from new w where w.n operator(pg_catalog.=) i.n) then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n $q$, names || jsonb_build_object(
        'changed', changed, 'source', pipeline.source, 'table', pipeline.embedding_table,
        'key_columns', _key_numbered(pipeline.source), 'key_record', _key_record(pipeline.source, 'i.id'),
        'is_source_row', _key_match(pipeline.source, 's', 'i', numbered => true),
        'is_stored', _key_match(pipeline.source, 'e', 'i', numbered => true),
        'keys', _column_list(pipeline.key_columns),
        'input_keys', string_agg(format('i.key_%s', k.nth), ', ' order by k.nth),
        'due_keys', string_agg(format('d.key_%s', k.nth), ', ' order by k.nth)))
    from _key_columns(pipeline.source) k
$$;

-- The rows to be written, those of them that are locked now, the chunks that these have, and the new chunks, with the
-- vectors that are taken over.
create or replace function pgembedd_internal._chunks_write_rows() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select $q$
        with input as materialized (
            select i.n, i.hash, i.job, {key_columns}
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, job, n)
            cross join lateral {key_record}),
        locked as materialized (
            select i.n, {row_hash} operator(pg_catalog.=) i.hash as current
            from input i join {source} s on {is_source_row}
            for no key update of s skip locked),
        had as materialized (
            select i.n, e.chunk_index, e.chunk, e.start_offset, e.end_offset, e.content_hash, e.embedding, e.model,
                   e.tokens, e.tokens_kept
            from input i join locked l on l.n operator(pg_catalog.=) i.n join {table} e on {is_stored}
            where l.current),
        new as materialized (
            select {input_keys}, i.n, c.chunk_index, c.chunk, c.start_offset, c.end_offset, c.content_hash,
                   coalesce(c.tokens, o.tokens) as tokens, coalesce(c.tokens_kept, o.tokens_kept) as tokens_kept,
                   coalesce(c.embedding::{vector}, o.embedding) as embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            join rows from (
                    pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                    pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
                    pg_catalog.unnest($12))
                as c(job, chunk_index, chunk, start_offset, end_offset, content_hash, embedding, tokens, tokens_kept)
                on c.job operator(pg_catalog.=) i.job
            left join (
                select distinct on (h.n, h.content_hash) h.n, h.content_hash, h.embedding, h.tokens, h.tokens_kept
                from had h where h.model operator(pg_catalog.=) $13) o
                on c.embedding is null and o.n operator(pg_catalog.=) i.n
                and o.content_hash operator(pg_catalog.=) c.content_hash
            where l.current),$q$
$$;

-- `short`: rows that lack a vector; `due`: the chunks that differ, which are put, as others are removed.
create or replace function pgembedd_internal._chunks_write_changes() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select $q$
        short as materialized (select distinct w.n from new w where w.embedding is null),
        due as materialized (
            select w.* from new w
            where not exists (select from short x where x.n operator(pg_catalog.=) w.n) and not exists (
                select from had h
                where h.n operator(pg_catalog.=) w.n
                  and row(h.chunk_index, h.chunk, h.start_offset, h.end_offset, h.content_hash, h.embedding, h.model,
                          h.tokens, h.tokens_kept)::pg_catalog.record operator(pg_catalog.*=)
                      row(w.chunk_index, w.chunk, w.start_offset, w.end_offset, w.content_hash, w.embedding, $13,
                          w.tokens, w.tokens_kept)::pg_catalog.record)),
        removed as (
            delete from {table} e using input i left join locked l on l.n operator(pg_catalog.=) i.n
            where {is_stored} and case
                when l.n is null then not exists (select from {source} s where {is_source_row})
                else l.current and not exists (select from short x where x.n operator(pg_catalog.=) i.n)
                     and not exists (select from new w where w.n operator(pg_catalog.=) i.n
                                     and w.chunk_index operator(pg_catalog.=) e.chunk_index) end
            returning i.n),
        put as (
            insert into {table} ({keys}, chunk_index, chunk, start_offset, end_offset, embedding, content_hash, model,
                                  tokens, tokens_kept)
            select {due_keys}, d.chunk_index, d.chunk, d.start_offset, d.end_offset, d.embedding, d.content_hash, $13,
                   d.tokens, d.tokens_kept
            from due d
            on conflict ({keys}, chunk_index) do update set
                chunk = excluded.chunk, start_offset = excluded.start_offset, end_offset = excluded.end_offset,
                embedding = excluded.embedding, content_hash = excluded.content_hash, model = excluded.model,
                tokens = excluded.tokens, tokens_kept = excluded.tokens_kept, embedded_at = excluded.embedded_at)$q$
$$;
