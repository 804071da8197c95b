-- The generated code of a pipeline with an embedding table: one row a chunk, several chunks a row of the source.
--
--   pipeline_N_read     the content by key, what is put around each chunk, and which chunks are there already
--   pipeline_N_write    the compare-and-set: a row's chunks as a whole, or nothing
--   pipeline_N_forget   the chunks of rows whose key is no more
--   pipeline_N_tidy     the chunks of all rows that are gone, whoever deleted them
--   pipeline_N_on_delete, _on_truncate   triggers, so that chunks go with their row in the same transaction
--
-- All run as the owner of the source, to whom the embedding table belongs, too. No foreign key does the deleting: it
-- would stand in the way of TRUNCATE, and cost every deleted row a statement of its own.

-- Our columns of the embedding table, after those of the key.
create or replace function pgembedd._chunk_columns() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select array['chunk_no', 'chunk', 'start_offset', 'end_offset', 'embedding', 'content_hash', 'model', 'tokens',
                 'tokens_kept', 'embedded_at']
$$;

-- Where a pipeline's vectors are: the table, and the column of it.
create or replace function pgembedd._target(pipeline pgembedd.pipeline) returns regclass
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select coalesce(pipeline.embedding_table, pipeline.source) $$;

create or replace function pgembedd._vector_column(pipeline pgembedd.pipeline) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select coalesce(pipeline.embedding_column, 'embedding') $$;

-- A formatting in pieces: text as it stands, columns ($name or ${name}), the chunk ($chunk). $$ is a dollar sign.
create or replace function pgembedd._formatting_pieces(formatting text) returns table (nth bigint, literal text, name text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select m.nth, case when m.parts[1] is not null then m.parts[1] when m.parts[2] is not null then '$' end,
           coalesce(m.parts[3], m.parts[4])
    from regexp_matches(formatting, '([^$]+|\$(?![$A-Za-z_{])|\$(?=\{)(?!\{[^{}]+\}))|(\$\$)|\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([^{}]+)\}', 'g')
        with ordinality as m(parts, nth)
$$;

-- The part of a formatting before the chunk, or after it, as an SQL expression of the source row `alias`.
create or replace function pgembedd._around(formatting text, alias text, after boolean) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    with pieces as (
        select p.*, (select min(c.nth) from _formatting_pieces(formatting) c where c.name = 'chunk') as chunk
        from _formatting_pieces(formatting) p)
    select coalesce('pg_catalog.concat(' || string_agg(
        case when p.name is null then quote_literal(p.literal) else format('%s.%I', alias, p.name) end, ', ' order by p.nth) || ')',
        '''''::pg_catalog.text')
    from pieces p where case when after then p.nth > p.chunk else p.nth < p.chunk end
$$;

-- Everything that a row's chunks are made of, as one text to be hashed: with the lengths in front, no part can pass for
-- another.
create or replace function pgembedd._row_hash(pipeline pgembedd.pipeline, content text, before text, after text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when pipeline.formatting is null then _hash(content)
                else format('pg_catalog.sha256(%s operator(pg_catalog.||) %s operator(pg_catalog.||) %s)',
                            _hash(content), _hash(before), _hash(after)) end
$$;

create or replace function pgembedd._generate_chunks_read(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    read text := _pipeline_function(pipeline.id, 'read');
    signature text := read || '(pg_catalog.jsonb[], pg_catalog.text)';
begin
    if to_regprocedure(signature) is not null then
        execute format('drop function %s', signature);
    end if;
    execute format('create function %s(ids jsonb[], fingerprint text)
                    returns table (n bigint, content text, hash bytea, before text, after text, known bytea[])
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', read,
        format('begin return query execute %L using ids, fingerprint; end', format($q$
        select r.n, r.content, %1$s, r.before, r.after, r.known
        from (
            select i.n, %2$s as content, %3$s as before, %4$s as after,
                   array(select e.content_hash from %5$s e
                         where %6$s and e.model operator(pg_catalog.=) $2) as known
            from pg_catalog.unnest($1) with ordinality as i(id, n)
            cross join lateral %7$s
            join %8$s s on %9$s) r $q$,
            _row_hash(pipeline, 'r.content', 'r.before', 'r.after'), _content(pipeline, 's'),
            _around(pipeline.formatting, 's', false), _around(pipeline.formatting, 's', true),
            pipeline.embedding_table, _key_match(pipeline.source, 'e', 's'),
            _key_record(pipeline.source, 'i.id'), pipeline.source, _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, signature);
end $$;

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

-- What takes chunks away. A writer's statement must not fail because the embedding table is not there any more, so
-- its name is looked up, and EXECUTE plans afresh: a plan made for one row would be kept for a hundred thousand.
create or replace function pgembedd._if_there(pipeline pgembedd.pipeline, statement text, given text, ending text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('begin if pg_catalog.to_regclass(%L) is not null then execute %L %s; end if; %s %s %s end', pipeline.embedding_table,
                  statement, given, ending, _forgiven(pipeline), ending)
$$;

create or replace function pgembedd._generate_chunks_forget(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    forget text := _pipeline_function(pipeline.id, 'forget');
    on_delete text := _pipeline_function(pipeline.id, 'on_delete');
    on_truncate text := _pipeline_function(pipeline.id, 'on_truncate');
    tidy text := _pipeline_function(pipeline.id, 'tidy');
begin
    execute format('create or replace function %s(ids jsonb[]) returns void language plpgsql security definer
                    set row_security = off as %L', forget,
        _if_there(pipeline, format(
            'delete from %s e using pg_catalog.unnest($1) i(id) cross join lateral %s where %s', pipeline.embedding_table,
            _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'e', 'k')), 'using ids', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_delete,
        _if_there(pipeline, format(
            'delete from %s e using old_rows o where %s', pipeline.embedding_table, _key_match(pipeline.source, 'e', 'o')),
            '', 'return null;'));
    -- One partition alone may have been emptied, so what is left decides.
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_truncate, format($body$
declare
    emptied boolean;
begin
    if pg_catalog.to_regclass(%1$L) is null then return null; end if;
    execute %2$L into emptied;
    if emptied then execute %3$L; else execute %4$L; end if;
    return null;%5$s return null;
end $body$, pipeline.embedding_table, format('select not exists (select from %s)', pipeline.source),
            format('truncate %s', pipeline.embedding_table),
            format('delete from %s e where not exists (select from %s s where %s)', pipeline.embedding_table,
                pipeline.source, _key_match(pipeline.source, 's', 'e')), _forgiven(pipeline)));
    execute format('create or replace function %s() returns void language plpgsql security definer
                    set row_security = off as %L', tidy, format('begin delete from %s e where not exists (select from %s s where %s); end',
        pipeline.embedding_table, pipeline.source, _key_match(pipeline.source, 's', 'e')));
    perform _run_as_owner(pipeline, forget || '(pg_catalog.jsonb[])'), _run_as_owner(pipeline, on_delete || '()'),
            _run_as_owner(pipeline, on_truncate || '()'), _run_as_owner(pipeline, tidy || '()');
end $$;

-- No chunk is to be taken over for its text any more: of the keys `ids`, or of all when that is null. Nothing here waits
-- for a row, and whoever calls has read the source before, so that its lock comes first, as with a writer's DELETE and
-- TRUNCATE: no writer can come into a deadlock with this. What somebody deletes or writes at this moment is left out.
create or replace function pgembedd._distrust(pipeline pgembedd.pipeline, ids jsonb[] default null) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _ask(pipeline, format($q$
        with held as materialized (
            select c.ctid as place from %1$s c where c.content_hash operator(pg_catalog.<>) '' and %2$s for update of c skip locked),
        u as (update %1$s e set content_hash = '' from held h where e.ctid operator(pg_catalog.=) h.place returning 1)
        select pg_catalog.to_jsonb(pg_catalog.count(*)) from u $q$, pipeline.embedding_table,
        case when ids is null then 'true' else format('exists (select from pg_catalog.unnest(%L::pg_catalog.jsonb[]) as i(id) cross join lateral %s where %s)',
            ids, _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'c', 'k')) end));
end $$;
