-- The readers of the source read its words in two ways, as @@ is not leakproof and a policy keeps the GIN index from
-- being used. Where the source has row level security it is the table, with a policy that looks each row up in the
-- source; elsewhere a view of all words, whose condition is of no row and is checked once a query. What is revoked from
-- a reader, or hidden by a first policy, is out of the view at once.

create or replace function pgembedd_internal._drop_words_view(words regclass) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if _words_view(words) is not null then execute format('drop view %s', _words_view(words)); end if;
end $$;

-- The view of that name, if it is one over the words; looked up without to_regclass(), for which the caller would need
-- USAGE on its schema.
create or replace function pgembedd_internal._words_view(words regclass) returns regclass
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return (select c.oid from pg_class w join pg_class c on c.relnamespace = w.relnamespace
            where w.oid = words and c.relname = _truncate_name(w.relname, 58) || '_view' and c.relkind = 'v'
              and exists (
                  select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                  where r.ev_class = c.oid and d.refobjid = words));
end $$;

create or replace function pgembedd_internal._mirror_words_rights(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _ensure_words_view(pipeline), _mirror_policy(pipeline.source, pipeline.words_table,
        (select relrowsecurity from pg_class where oid = pipeline.source));
    perform _mirror_grants(pipeline.source, r)
    from unnest(array[pipeline.words_table, _words_view(pipeline.words_table)]) as r where r is not null;
end $$;

-- It names the source by a text and a number, as the source could not be dropped otherwise. By both, since another role
-- could make a table of a name that became free, and the number is another one after a restore. The comment holds the
-- condition, to see whether they are others by now.
create or replace function pgembedd_internal._ensure_words_view(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    view constant text := (
        select format('%I.%I', n.nspname, _truncate_name(c.relname, 58) || '_view')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = pipeline.words_table);
    condition constant text := format(
        'pg_catalog.has_table_privilege(%2$s::pg_catalog.oid, ''select'') '  -- by this a downgrade knows the view
        'and pg_catalog.to_regclass(%1$L) operator(pg_catalog.=) %2$s::pg_catalog.oid '
        'and not pg_catalog.row_security_active(%2$s::pg_catalog.oid)', pipeline.source, pipeline.source::oid);
begin
    if to_regclass(view) is not null
       and (_words_view(pipeline.words_table) is null or obj_description(to_regclass(view), 'pg_class') = condition)
    then return; end if;
    execute format('create or replace view %s as select v.* from %s v where %s', view, pipeline.words_table, condition);
    execute format('comment on view %s is %L', view, condition);
    perform _give_to_owner(to_regclass(view), pipeline.source);
end $$;
