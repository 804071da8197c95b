-- The compare-and-set. Rows are locked without waiting; a vector is written only where the content is still the one it
-- was made from, and only if it differs; the content is compared again after the write, because a BEFORE trigger of the
-- user's may have changed it.
create or replace function pgembedd_internal._generate_write(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'write',
        format('pg_catalog.jsonb[], pg_catalog.bytea[], %s[]', _vector_type('vector')),
        'table (n bigint, outcome pg_catalog.text)', 'set lock_timeout = ''2s''', format($body$
#variable_conflict use_column
begin
    %s
    %s
    -- Deferred triggers as well run here and as the owner: until version 18 a COMMIT runs them as the session's user.
    set constraints all immediate;
end $body$, _refuse_others(pipeline), _return_by_key(pipeline, _write_query(pipeline), '$1, $2, $3')))
$$;

create or replace function pgembedd_internal._write_query(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        with input as materialized (
            select i.n, i.hash, i.embedding::{vector} as embedding, {key_columns}
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, embedding, n)
            cross join lateral {key_record}),
        locked as materialized (
            select i.n, {mark} operator(pg_catalog.=) i.hash as current,
                   row(s.{column})::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record
                       as differs
            from input i join {source} s on {is_source_row}
            for no key update of s skip locked),
        written as (
            update {source} s set {column} = i.embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            where l.current and l.differs and {is_source_row}
            returning i.n, {mark} operator(pg_catalog.=) i.hash as current,
                      s.{column} is null and i.embedding is not null as emptied)
        select i.n, case
            when l.n is null and exists (select from {source} s where {is_source_row}) then 'locked'
            when l.n is null then 'gone'
            when not l.current then 'changed'
            when w.emptied or w.n is null and l.differs then 'refused'
            when w.n is null then 'unchanged'
            when not w.current then 'rewritten'
            when i.embedding is null then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n
        left join written w on w.n operator(pg_catalog.=) i.n $q$, jsonb_build_object(
        'vector', _vectors_type(pipeline),
        'key_columns', _key_numbered(pipeline.source), 'key_record', _key_record(pipeline.source, 'i.id'),
        'mark', _mark(_content(pipeline, 's')), 'source', pipeline.source,
        'is_source_row', _key_match(pipeline.source, 's', 'i', numbered => true),
        'column', quote_ident(pipeline.embedding_column)))
$$;
