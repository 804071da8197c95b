create or replace function pgembedd._generate_read(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    read text := _pipeline_function(pipeline.id, 'read');
begin
    execute format('create or replace function %s(ids jsonb[]) returns table (n bigint, content text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', read,
        format('begin return query execute %L using ids; end', format($q$
        select i.n, %s from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral %s
        join %s s on %s $q$,
            _content(pipeline, 's'), _key_record(pipeline.source, 'i.id'), pipeline.source,
            _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, read || '(pg_catalog.jsonb[])');
end $$;

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
