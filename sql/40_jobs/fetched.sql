-- The URIs of rows by key, with what is known of the files that were fetched from them. The state is ok, blank or gone.
-- `file_hash` is that of a file which need not be parsed again: its pages are there, or this parser read no text of it
-- and `unreadable` says why. The validator is that of the same file at the same URI.
create or replace function pgembedd_internal.read_uris(pipeline_id integer, ids jsonb[], parser text)
returns table (n bigint, state text, uri text, hash bytea, validator text, file_hash bytea, unreadable text,
               prefixes text[])
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    answered boolean := false;
begin
    return query execute _read_uris_statement(pipeline_id) using ids, parser, pipeline_id;
    answered := true;
    raise exception using errcode = 'PGE02';
exception when sqlstate 'PGE02' then
    if not answered then raise; end if;
    perform _drop_prepared();
end $$;
comment on function pgembedd_internal.read_uris is
    'The URIs of rows by key, with their SHA-256, and what is known of the files that were fetched from them.';

create or replace function pgembedd_internal._read_uris_statement(pipeline_id integer) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select i.n, case when r.n is null then 'gone' when coalesce(r.uri, '') = '' then 'blank' else 'ok' end,
               nullif(r.uri, ''), coalesce(r.hash, ''), case when k.hash = f.file_hash then f.validator end, k.hash,
               u.sentence, p.uri_prefixes
        from unnest($1) with ordinality as i(id, n)
        join pgembedd_internal.pipeline p on p.id = $3
        left join %s($1, $2) r on r.n = i.n
        left join pgembedd_internal.fetched_file f on f.pipeline_id = $3 and f.key = i.id and f.uri_hash = r.hash
            and jsonb_hash_extended(f.key, 0) = jsonb_hash_extended(i.id, 0)
        cross join lateral (select case when f.parser = $2 and exists (
            select from pgembedd_internal.dead_letter d where d.pipeline_id = $3 and d.key = i.id
            and jsonb_hash_extended(d.key, 0) = jsonb_hash_extended(i.id, 0)) then f.unreadable end) as u(sentence)
        cross join lateral (select case when u.sentence is not null then f.file_hash
                                        when cardinality(r.known) = 1 then nullif(r.known[1], '') end) as k(hash)
        order by i.n
        $q$, _pipeline_function(pipeline_id, 'read'))
$$;

-- Notes which files the rows of these keys have now; of rows that are gone or blank it forgets that.
create or replace function pgembedd_internal._note_fetched(
    pipeline_id integer, keys jsonb[], outcomes text[], uri_hashes bytea[], file_hashes bytea[], validators text[],
    parser text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _forget_fetched($1, array(
        select o.key from unnest(keys, outcomes, file_hashes) as o(key, outcome, file_hash)
        where o.outcome = 'gone' or o.outcome in ('cleared', 'unchanged') and o.file_hash is null));
    perform note_file($1, o.key, o.uri_hash, o.file_hash, o.validator, $7, null)
    from unnest(keys, outcomes, uri_hashes, file_hashes, validators)
        as o(key, outcome, uri_hash, file_hash, validator)
    where o.outcome in ('written', 'unchanged', 'cleared') and o.file_hash is not null;
end $$;

create or replace function pgembedd_internal._forget_fetched(pipeline_id integer, keys jsonb[]) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    delete from fetched_file f using unnest(keys) as k(key)
    where f.pipeline_id = $1 and f.key = k.key and jsonb_hash_extended(f.key, 0) = jsonb_hash_extended(k.key, 0)
$$;

-- Notes the file that a row's URI has, of which this parser reads no text for the reason `unreadable`, if it is given.
create or replace function pgembedd_internal.note_file(
    pipeline_id integer, key jsonb, uri_hash bytea, file_hash bytea, validator text, parser text, unreadable text
) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    insert into fetched_file as f (pipeline_id, key, uri_hash, file_hash, validator, parser, unreadable)
    select p.id, $2, $3, $4, $5, $6, $7 from pipeline p where p.id = $1
    on conflict (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1)) do update
    set uri_hash = excluded.uri_hash, file_hash = excluded.file_hash, validator = excluded.validator,
        parser = excluded.parser, unreadable = excluded.unreadable, checked_at = excluded.checked_at
$$;
comment on function pgembedd_internal.note_file is
    'Note the file that was fetched for a row, and why no text is read of it, so that it is not parsed again.';

-- What verify compares pages with: the hash of the file that was fetched from the URI that the row has.
create or replace function pgembedd_internal._read_fetched(pipeline_id integer, ids jsonb[])
returns table (n bigint, state text, hash bytea)
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select r.n, case when f.file_hash = sha256('') then 'blank' else r.state end, coalesce(f.file_hash, '')
    from read_uris(pipeline_id, ids, '') r
    left join fetched_file f on f.pipeline_id = $1 and f.key = ids[r.n] and f.uri_hash = r.hash
        and jsonb_hash_extended(f.key, 0) = jsonb_hash_extended(ids[r.n], 0)
$$;
