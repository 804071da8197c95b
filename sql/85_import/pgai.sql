-- `pgembedd import pgai`: takes over pgai's vectors, except those of rows that changed since according to pgai's own
-- queue `pending`, which has the key's columns; it may be null.

create or replace function pgembedd._pending(pipeline pgembedd.pipeline, pending regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when pending is null then 'false'
                else format('exists (select from %s q where %s)', pending, _key_match(pipeline.source, 'q', alias)) end
$$;

-- Copy chunks that carry (key…, chunk_seq, chunk, embedding) into the embedding table of the pipeline; a chunk there is
-- the text that was embedded, formatting and all. A row is taken over as a whole or not at all: only when each of its
-- chunks is found in the row's content. Of a text that repeats, the offsets are those of its first occurrence; the
-- tokens were not counted, which 0 says. Returns how many rows of the source were taken over.
create or replace function pgembedd._import_chunks(name text, chunks regclass, pending regclass, fingerprint text)
returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd.pipeline := _pipeline(name);
    keys text := (select string_agg(format('%I', k), ', ') from unnest(one.key_columns) as k);
    taken bigint;
begin
    execute format($q$
        with found as materialized (
            select %2$s, e.chunk_seq, e.chunk as embedded, e.embedding, c.piece, strpos(c.content, c.piece) as at,
                   bool_and(c.piece is not null and strpos(c.content, c.piece) > 0) over (partition by %2$s) as whole
            from %3$s s
            join %4$s e on %5$s
            cross join lateral (select %6$s as before, %7$s as after, %8$s as content) a
            cross join lateral (select a.content, case when starts_with(e.chunk, a.before)
                    and right(e.chunk, length(a.after)) = a.after and length(e.chunk) >= length(a.before) + length(a.after)
                then substr(e.chunk, length(a.before) + 1, length(e.chunk) - length(a.before) - length(a.after)) end as piece) c
            where not %9$s),
        copied as (
            insert into %1$s (%10$s, chunk_no, chunk, start_offset, end_offset, embedding, content_hash, model, tokens, tokens_kept)
            select %11$s, f.chunk_seq, f.piece, f.at - 1, f.at - 1 + length(f.piece), f.embedding::%12$s,
                   sha256(convert_to(f.embedded, 'UTF8')), $1, 0, 0
            from found f where f.whole
            returning %10$s)
        select count(*) from (select distinct %10$s from copied) d
        $q$,
        one.embedding_table, (select string_agg(format('s.%I', k), ', ') from unnest(one.key_columns) as k), one.source, chunks,
        _key_match(one.source, 's', 'e'),
        case when one.formatting is null then quote_literal('') else _around(one.formatting, 's', false) end,
        case when one.formatting is null then quote_literal('') else _around(one.formatting, 's', true) end,
        _content(one, 's'), _pending(one, pending, 's'), keys,
        (select string_agg(format('f.%I', k), ', ') from unnest(one.key_columns) as k),
        format('%s(%s)', _vector_type(one.vector_type), one.dimensions)) into taken using fingerprint;
    perform pin_model(one.id, fingerprint);
    return taken;
end $$;

-- Queue the rows whose vectors another knows to be out of date. Returns how many.
create or replace function pgembedd._import_pending(name text, pending regclass) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    one pgembedd.pipeline := _pipeline(name);
    queued bigint;
begin
    execute _enqueue(one, one.backfill_queue, _key_json(one.source, 's'),
        format('%s s where %s and not %s', one.source, _pending(one, pending, 's'), _lacks_vector(one)));
    get diagnostics queued = row_count;
    return queued;
end $$;
