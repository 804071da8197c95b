-- The compare-and-set. Rows are locked without waiting; a vector is written only where the content is still the
-- one it was made from, and only if it differs; the content is hashed again after the write, because a BEFORE
-- trigger of the user's may have changed it. EXECUTE plans afresh each time: a plan kept from when the table
-- was small would scan it when it is large.
create or replace function pgembedd._generate_write(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    write text := _pipeline_function(pipeline.id, 'write');
    vectors text := format('%s[]', _vector_type('vector'));
begin
    execute format('create or replace function %s(ids jsonb[], hashes bytea[], embeddings %s)
                    returns table (n bigint, outcome text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', write, vectors,
        format($body$
begin
    perform pg_catalog.set_config('pgembedd.storing', %L, true);
    return query execute %L using ids, hashes, embeddings;
    perform pg_catalog.set_config('pgembedd.storing', '', true);
end $body$, pipeline.id, format($q$
        with input as materialized (
            select i.n, i.hash, i.embedding::%1$s as embedding, %7$s
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, embedding, n)
            cross join lateral %2$s),
        locked as materialized (
            select i.n, %3$s operator(pg_catalog.=) i.hash as current,
                   row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record as differs
            from input i join %4$s s on %5$s
            for no key update of s skip locked),
        written as (
            update %4$s s set %6$I = i.embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            where l.current and %5$s
              and row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record
            returning i.n, %3$s operator(pg_catalog.=) i.hash as current,
                      s.%6$I is null and i.embedding is not null as emptied)
        select i.n, case
            when l.n is null and exists (select from %4$s s where %5$s) then 'locked'
            when l.n is null then 'gone'
            when not l.current then 'changed'
            when w.emptied or w.n is null and l.differs then 'refused'
            when w.n is null then 'unchanged'
            when not w.current then 'rewritten'
            when i.embedding is null then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n
        left join written w on w.n operator(pg_catalog.=) i.n $q$,
            format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions),
            _key_record(pipeline.source, 'i.id'), _hash(_content(pipeline, 's')), pipeline.source,
            _key_match_numbered(pipeline.source, 's', 'i'), pipeline.embedding_column,
            _key_numbered(pipeline.source))));
    perform _run_as_owner(pipeline, format('%s(pg_catalog.jsonb[], pg_catalog.bytea[], %s)', write, vectors));
end $$;
