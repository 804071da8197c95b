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
    return query execute _read_statement(pipeline_id, '$1', _mark('r.content')) using ids;
    answered := true;
    raise exception using errcode = 'PGE02';
exception when sqlstate 'PGE02' then
    if not answered then raise; end if;
    perform _drop_prepared();
end $$;
comment on function pgembedd_internal.read is
    'The content of rows by key, with a hash by which the store knows it.';

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

-- The files of rows by key, of at most so many bytes each and together. The state is ok, with the file; unchanged,
-- where the row has its pages by this parser; large, where it has more bytes, `size`; later, where others come first;
-- blank, or gone.
create or replace function pgembedd_internal.read_files(
    pipeline_id integer, ids jsonb[], parser text, most_bytes bigint
) returns table (n bigint, state text, file bytea, hash bytea, size bigint)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    answered boolean := false;
begin
    return query execute _read_files_statement(pipeline_id) using ids, parser, most_bytes;
    answered := true;
    raise exception using errcode = 'PGE02';
exception when sqlstate 'PGE02' then
    if not answered then raise; end if;
    perform _drop_prepared();
end $$;
comment on function pgembedd_internal.read_files is
    'The files of rows by key, with their SHA-256, unless their pages are there, they are too large or too many.';

create or replace function pgembedd_internal._read_files_statement(pipeline_id integer) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select i.n, case when r.n is null then 'gone' when r.size > $3 then 'large' when r.size = 0 then 'blank'
                         when r.hash is null then 'later' when r.same then 'unchanged' else 'ok' end,
               case when r.size > 0 then r.file end, coalesce(r.hash, ''), r.size
        from unnest($1) with ordinality as i(id, n) left join %s($1, $2, $3) r on r.n = i.n order by i.n
        $q$, _pipeline_function(pipeline_id, 'read'))
$$;

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
