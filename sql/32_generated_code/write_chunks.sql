-- As in _generate_write, rows are locked without waiting and compared by hash; it also keeps two workers from
-- writing the chunks of one row at once, and a row from being deleted while its chunks are written. A chunk that comes
-- without a vector has the text of one that is there, and takes its vector over; where that one is gone by now, the
-- row is read again. What is in place already is not touched: its place in the index stays as it is.
create or replace function pgembedd._generate_chunks_write(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    write text := _pipeline_function(pipeline.id, 'write');
    source regclass := pipeline.source;
    keys text := (select string_agg(quote_ident(k), ', ') from unnest(pipeline.key_columns) as k);
    numbered text := (select string_agg('i.key_' || n, ', ') from generate_subscripts(pipeline.key_columns, 1) n);
    due_keys text := (select string_agg('d.key_' || n, ', ') from generate_subscripts(pipeline.key_columns, 1) n);
    signature text := format('%s(pg_catalog.jsonb[], pg_catalog.bytea[], int4[], int4[], int4[], pg_catalog.text[], int4[], int4[],
                              pg_catalog.bytea[], %s[], int4[], int4[], pg_catalog.text)', write, _vector_type('vector'));
begin
    if to_regprocedure(signature) is not null then
        execute format('drop function %s', signature);
    end if;
    execute format('create function %s(
                        ids jsonb[], hashes bytea[], jobs integer[], chunk_jobs integer[], chunk_nos integer[], chunks text[],
                        start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings %s[],
                        tokens integer[], tokens_kept integer[], fingerprint text)
                    returns table (n bigint, outcome text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', write, _vector_type('vector'),
        format($body$
begin
    return query execute %L
    using ids, hashes, jobs, chunk_jobs, chunk_nos, chunks, start_offsets, end_offsets, chunk_hashes, embeddings,
          tokens, tokens_kept, fingerprint;
end $body$, format($q$
        with input as materialized (
            select i.n, i.hash, i.job, %1$s
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, job, n)
            cross join lateral %2$s),
        locked as materialized (
            select i.n, %3$s operator(pg_catalog.=) i.hash as current
            from input i join %4$s s on %5$s
            for no key update of s skip locked),
        had as materialized (
            select i.n, e.chunk_no, e.chunk, e.start_offset, e.end_offset, e.content_hash, e.embedding, e.model, e.tokens,
                   e.tokens_kept
            from input i join locked l on l.n operator(pg_catalog.=) i.n join %6$s e on %7$s
            where l.current),
        new as materialized (
            select %8$s, i.n, c.chunk_no, c.chunk, c.start_offset, c.end_offset, c.content_hash,
                   coalesce(c.tokens, o.tokens) as tokens, coalesce(c.tokens_kept, o.tokens_kept) as tokens_kept,
                   coalesce(c.embedding::%9$s, o.embedding) as embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            join rows from (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                            pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
                            pg_catalog.unnest($12))
                as c(job, chunk_no, chunk, start_offset, end_offset, content_hash, embedding, tokens, tokens_kept)
                on c.job operator(pg_catalog.=) i.job
            left join lateral (
                select h.embedding, h.tokens, h.tokens_kept from had h
                where h.n operator(pg_catalog.=) i.n and h.content_hash operator(pg_catalog.=) c.content_hash
                  and h.model operator(pg_catalog.=) $13 limit 1) o on c.embedding is null
            where l.current),
        short as materialized (select distinct w.n from new w where w.embedding is null),
        due as materialized (
            select w.* from new w
            where not exists (select from short x where x.n operator(pg_catalog.=) w.n) and not exists (
                select from had h
                where h.n operator(pg_catalog.=) w.n
                  and row(h.chunk_no, h.chunk, h.start_offset, h.end_offset, h.content_hash, h.embedding, h.model, h.tokens,
                          h.tokens_kept)::pg_catalog.record operator(pg_catalog.*=)
                      row(w.chunk_no, w.chunk, w.start_offset, w.end_offset, w.content_hash, w.embedding, $13, w.tokens,
                          w.tokens_kept)::pg_catalog.record)),
        removed as (
            delete from %6$s e using input i left join locked l on l.n operator(pg_catalog.=) i.n
            where %7$s and case
                when l.n is null then not exists (select from %4$s s where %5$s)
                else l.current and not exists (select from short x where x.n operator(pg_catalog.=) i.n)
                     and not exists (select from new w where w.n operator(pg_catalog.=) i.n
                                     and w.chunk_no operator(pg_catalog.=) e.chunk_no) end
            returning i.n),
        put as (
            insert into %6$s (%10$s, chunk_no, chunk, start_offset, end_offset, embedding, content_hash, model, tokens, tokens_kept)
            select %11$s, d.chunk_no, d.chunk, d.start_offset, d.end_offset, d.embedding, d.content_hash, $13, d.tokens, d.tokens_kept
            from due d
            on conflict (%10$s, chunk_no) do update set
                chunk = excluded.chunk, start_offset = excluded.start_offset, end_offset = excluded.end_offset,
                embedding = excluded.embedding, content_hash = excluded.content_hash, model = excluded.model,
                tokens = excluded.tokens, tokens_kept = excluded.tokens_kept, embedded_at = excluded.embedded_at)
        select i.n, case
            when l.n is null and exists (select from %4$s s where %5$s) then 'locked'
            when l.n is null then 'gone'
            when not l.current or exists (select from short x where x.n operator(pg_catalog.=) i.n) then 'changed'
            when exists (select from due d where d.n operator(pg_catalog.=) i.n) then 'written'
            when not exists (select from removed r where r.n operator(pg_catalog.=) i.n) then 'unchanged'
            when not exists (select from new w where w.n operator(pg_catalog.=) i.n) then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n $q$,
            _key_numbered(source), _key_record(source, 'i.id'),
            _row_hash(pipeline, _content(pipeline, 's'), _around(pipeline.formatting, 's', false), _around(pipeline.formatting, 's', true)),
            source, _key_match_numbered(source, 's', 'i'), pipeline.embedding_table, _key_match_numbered(source, 'e', 'i'),
            numbered, format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions), keys, due_keys)));
    perform _run_as_owner(pipeline, signature);
end $$;
