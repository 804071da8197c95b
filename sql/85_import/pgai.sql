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

-- Copies chunks that carry (key, chunk_seq, chunk, embedding) into the embedding table of the pipeline; a chunk there
-- is the text that was embedded, formatting and all. A row is taken over as a whole or not at all: only when each of
-- its chunks is found in the row's content. Of a text that repeats, the offsets are those of its first occurrence; the
-- tokens were not counted, which 0 says. Returns how many rows of the source were taken over.
create or replace function pgembedd_internal._import_chunks(
    name text, chunks regclass, pending regclass, fingerprint text
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    taken bigint;
begin
    execute _render($q$
        with found as materialized (
            select {source_keys}, e.chunk_seq, e.chunk as embedded, e.embedding, c.piece,
                   strpos(c.content, c.piece) as at,
                   bool_and(c.piece is not null and strpos(c.content, c.piece) > 0)
                       over (partition by {source_keys}) as whole
            from {source} s
            join {imported} e on {is_source_row}
            cross join lateral (select {before} as before, {after} as after, {content} as content) a
            cross join lateral (
                select a.content,
                       case when starts_with(e.chunk, a.before) and right(e.chunk, length(a.after)) = a.after
                                 and length(e.chunk) >= length(a.before) + length(a.after)
                            then substr(e.chunk, length(a.before) + 1,
                                        length(e.chunk) - length(a.before) - length(a.after)) end as piece) c
            where not {pending}),
        copied as (
            insert into {chunks} ({keys}, chunk_index, chunk, start_offset, end_offset, embedding, content_hash, model,
                                  tokens, tokens_kept)
            select {found_keys}, f.chunk_seq, f.piece, f.at - 1, f.at - 1 + length(f.piece), f.embedding::{vector},
                   sha256(convert_to(f.embedded, 'UTF8')), $1, 0, 0
            from found f where f.whole
            returning {keys})
        select count(*) from (select distinct {keys} from copied) d
        $q$, _import_variables(one, chunks, pending)) into taken using fingerprint;
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
        'pending', _pending(one, pending, 's'),
        'vector', format('%s(%s)', _vector_type(one.vector_type), one.dimensions))
    from unnest(one.key_columns) as k
$$;

-- Queues the rows whose vectors are out of date according to pgai. Returns how many.
create or replace function pgembedd_internal._import_pending(name text, pending regclass) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
-- The settings of _key_settings.
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'
set bytea_output = 'hex'
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(name);
    queued bigint;
begin
    execute _enqueue(one, 'pgembedd_backfill', _key_json(one.source, 's'),
        format('%s s where %s and not %s', one.source, _pending(one, pending, 's'), _lacks_vector(one)));
    get diagnostics queued = row_count;
    return queued;
end $$;
