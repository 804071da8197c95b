-- The content of rows by key. n counts the keys from 1; a key that has no row comes back as gone. What the owner's code
-- does meanwhile is undone, as in _query_and_undo.
create or replace function pgembedd_internal.read(pipeline_id integer, ids jsonb[])
returns table (n bigint, state text, content text, hash bytea)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    answered boolean := false;
begin
    return query execute _read_statement(pipeline_id, '$1', _hash('r.content')) using ids;
    answered := true;
    raise exception using errcode = 'PGE02';
exception when sqlstate 'PGE02' then
    if not answered then raise; end if;
    perform _drop_prepared();
end $$;
comment on function pgembedd_internal.read is 'The content of rows by key, with its SHA-256.';

-- The same for a pipeline with an embedding table, with what is put before and after each chunk, and the hashes of
-- the chunks that are there and were made by the pipeline's model: those need not be embedded again.
create or replace function pgembedd_internal.read_chunks(pipeline_id integer, ids jsonb[])
returns table (n bigint, state text, content text, hash bytea, before text, after text, known bytea[])
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    version xid := (select p.xmin from pipeline p where p.id = read_chunks.pipeline_id);
    answered boolean := false;
begin
    return query execute _read_statement(
        pipeline_id, '$1, $2', 'coalesce(r.hash, ''''), r.before, r.after, r.known')
    using ids, (select p.fingerprint from pipeline p where p.id = read_chunks.pipeline_id);
    answered := true;
    raise exception using errcode = 'PGE02';
exception
    when sqlstate 'PGE02' then
        if not answered then raise; end if;
        perform _drop_prepared();
    when undefined_table or undefined_column then
        if version = (select p.xmin from pipeline p where p.id = read_chunks.pipeline_id) then raise; end if;
        raise exception 'The pipeline is switching to another model.' using errcode = 'lock_not_available';
end $$;
comment on function pgembedd_internal.read_chunks is
    'The content of rows of a pipeline with an embedding table, and the hashes of the chunks that they have.';

-- The query for the rows of the keys $1, by the pipeline's generated function, with `columns` of it. A text that starts
-- with a letter, a digit or a sign is not blank; that saves most texts the regular expression.
create or replace function pgembedd_internal._read_statement(
    pipeline_id integer, arguments text, columns text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select i.n, case when r.n is null then 'gone' when b.blank then 'blank' else 'ok' end,
               case when not b.blank then r.content end, %s
        from unnest($1) with ordinality as i(id, n) left join %s(%s) r on r.n = i.n
        cross join lateral (select case when left(r.content, 1) collate "C" between '!' and '~' then false
                                        else pgembedd_internal._blank(r.content) end) as b(blank)
        order by i.n
        $q$, columns, _pipeline_function(pipeline_id, 'read'), arguments)
$$;

-- True if there is only white space, also the typographic kinds (no-break, thin, wide), which \s matches in some
-- locales only.
create or replace function pgembedd_internal._blank(content text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(content, '')
           !~ E'[^\\s\\u0085\\u00a0\\u1680\\u180e\\u2000-\\u200d\\u2028\\u2029\\u202f\\u205f\\u2060\\u3000\\ufeff]'
$$;
