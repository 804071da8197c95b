-- By our owner, because callers may not read `pipeline`; the names are those that an unknown one is refused with.
create or replace function pgembedd_internal._searched_pipelines(only_one text) returns table (
    name text, source regclass, vectors regclass, model text, fingerprint text, distance text, key_columns text[],
    text_columns text[])
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select p.name, p.source, coalesce(p.embedding_table, p.source), p.model, p.fingerprint, p.distance, p.key_columns,
           coalesce(p.content_columns, p.watch_columns)
    from pipeline p join pg_class c on c.oid = p.source
    where p.shadow_of is null and p.task = 'embed' and (only_one is null or p.name = only_one)
$$;

-- What a program has to know before it searches. As the caller, so that it names what the caller may read.
create or replace function pgembedd.search_pipelines(pipeline text default null) returns table (
    pipeline text, source text, model text, fingerprint text, distance text, chunked boolean, key_columns text[],
    text_columns text[], columns jsonb)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select p.name, p.source::text, p.model, p.fingerprint, p.distance, p.vectors <> p.source, p.key_columns,
           array(select t.name from unnest(p.text_columns) with ordinality as t(name, nth)
                 where exists (select from _search_columns(p.source) c where c.name = t.name) order by t.nth),
           (select coalesce(jsonb_agg(jsonb_build_object('name', c.name, 'type', format_type(c.type, null))
                                      order by c.number), '[]') from _search_columns(p.source) c)
    from _searched_pipelines($1) p
    where has_any_column_privilege(p.source, 'select')
      and (select has_schema_privilege(c.relnamespace, 'usage') from pg_class c where c.oid = p.source)
      and (p.vectors = p.source or has_table_privilege(p.vectors, 'select'))
    order by p.name
$$;
comment on function pgembedd.search_pipelines is
    'The pipelines that the caller may search, or one: model, key, and the columns with types that a filter may name.';
