create or replace function pgembedd_internal._view_name(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('%I.%I', n.nspname, _truncate_name(c.relname, 58) || '_view')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = pipeline.embedding_table
$$;

-- The view of that name, if it is the one that we made: a view over the embedding table.
create or replace function pgembedd_internal._view(pipeline pgembedd_internal.pipeline) returns regclass
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select c.oid::regclass from pg_class c
    where pipeline.task = 'embed' and c.oid = to_regclass(_view_name(pipeline)) and c.relkind = 'v' and exists (
        select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where r.ev_class = c.oid and d.refobjid = pipeline.embedding_table)
$$;

-- The rows of the source (their vectors excepted, whose columns come and go), each with its chunks; what is called
-- alike on both sides gets an embedding_ in front. It runs with the rights of the caller.
create or replace function pgembedd_internal._ensure_view(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    theirs constant text[] := _watchable_columns(pipeline.source);
    ours constant text[] := array(select c.name from _table_columns(pipeline) c order by c.nth);
    columns text;
begin
    if pipeline.task <> 'embed' then return; end if;  -- a page says which file it is of, and reads without it
    if to_regclass(_view_name(pipeline)) is not null and _view(pipeline) is null then
        raise notice '% is there already, so there is no view that joins % and its chunks.', _view_name(pipeline),
            pipeline.source;
    end if;
    if to_regclass(_view_name(pipeline)) is not null then return; end if;
    select string_agg(format('e.%I as %I', c, (
        select n from unnest(array[c, 'embedding_' || c, 'pgembedd_' || c, 'pgembedd_embedding_' || c])
            with ordinality as t(n, nth)
        where n <> all (theirs) and (n = c or n <> all (ours)) order by nth limit 1)), ', ')
    into columns from unnest(ours) as c;
    execute format('create view %s with (security_invoker = true) as select %s, %s from %s s join %s e on %s',
        _view_name(pipeline), _column_list(theirs, 's'), columns, pipeline.source, pipeline.embedding_table,
        _key_match(pipeline.source, 's', 'e'));
    perform _give_to_owner(_view_name(pipeline)::regclass, pipeline.source);
end $$;
