-- What a search has to know of a pipeline, as one object: parts of the statements that are put together from it, and
-- facts for the checks. Made by our owner, because callers may not read `pipeline`; it reads that table and catalogs
-- alone, runs no code of a table's owner, and what it returns gives no right. The statements run as the caller.

create or replace function pgembedd._search_target(name text, source regclass) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline := _searched_pipeline(name, source);
    vectors regclass := coalesce(one.embedding_table, one.source);
    operator text := case one.distance when 'cosine' then '<=>' when 'l2' then '<->' else '<#>' end;
    embedding text := coalesce(one.embedding_column, 'embedding');
    embedding_no smallint := (
        select a.attnum from pg_attribute a where a.attrelid = vectors and a.attname = embedding and not attisdropped);
    vector_schema text := (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
    qualified text[] := array(
        select format('%I.%I', n.nspname, c.relname)
        from unnest(array[one.source::oid, vectors::oid]) with ordinality as r(oid, nth)
        join pg_class c on c.oid = r.oid join pg_namespace n on n.oid = c.relnamespace order by r.nth);
begin
    if embedding_no is null or cardinality(qualified) < 2 then
        perform _refuse(coalesce(_problem(one), format('The pipeline "%s" cannot be searched.', one.name)));
    end if;
    return jsonb_build_object(
        'id', one.id, 'name', one.name, 'distance', one.distance, 'dimensions', one.dimensions,
        'chunked', one.embedding_table is not null, 'source_oid', one.source::oid, 'vectors_oid', vectors::oid,
        'source', qualified[1], 'vectors', qualified[2], 'embedding_no', embedding_no,
        'embedding', quote_ident(embedding), 'operator', format('operator(%I.%s)', vector_schema, operator),
        'vector_type', format('%I.%I', vector_schema, one.vector_type), 'vector_schema', vector_schema,
        'text_columns', to_jsonb(coalesce(one.content_columns, one.watch_columns)))
        || _search_key(one.source);
end $$;

-- The pipeline of that name, of that table, or both.
create or replace function pgembedd._searched_pipeline(name text, source regclass) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    names text[];
begin
    if name is not null then
        one := _pipeline(name);
        if one.source <> source then
            perform _refuse(format('The pipeline "%s" is of %s, not of %s.', name, one.source, source),
                'Name one of the table, or leave the pipeline out.');
        end if;
        return one;
    elsif source is null then
        perform _refuse('Say what is to be searched: a pipeline''s name, or null::some_table.',
            'For example pgembedd.search(''documents'', ''some words'').');
    end if;
    names := array(select p.name from pipeline p where p.source = $2 and p.shadow_of is null order by p.name);
    if cardinality(names) <> 1 then
        perform _refuse(
            case when names = '{}' then format('%s has no pipeline, so there is nothing to search.', source)
                 else format('%s has several pipelines: %s.', source, array_to_string(names, ', ')) end,
            case when names = '{}' then 'pgembedd.create_pipeline() makes one.'
                 else format('Name the one to be searched: pipeline => %L.', names[1]) end);
    end if;
    return _pipeline(names[1]);
end $$;

-- The key: as JSON, from the source `s` and from the chunks `v`, out of JSON again as `k`, and the comparisons.
create or replace function pgembedd._search_key(source regclass) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select jsonb_build_object(
        'key_names', jsonb_agg(k.name order by k.nth),
        'source_key', case when count(*) = 1 then min(format(k.json, 's'))
            else format('pg_catalog.jsonb_build_object(%s)',
                        string_agg(format('%L, %s', k.name, format(k.json, 's')), ', ' order by k.nth)) end,
        'chunk_key', case when count(*) = 1 then min(format(k.json, 'v'))
            else format('pg_catalog.jsonb_build_object(%s)',
                        string_agg(format('%L, %s', k.name, format(k.json, 'v')), ', ' order by k.nth)) end,
        'key_record', format('pg_catalog.jsonb_to_record(%s) as k(%s)',
            case when count(*) = 1 then format('pg_catalog.jsonb_build_object(%L, i.key)', min(k.name))
                 else 'i.key' end,
            string_agg(format('%I %s', k.name, k.type), ', ' order by k.nth)),
        'chunk_is_of_source', string_agg(format(k.match, 's', 'v'), ' and ' order by k.nth),
        'is_source_row', string_agg(format(k.match, 's', 'k'), ' and ' order by k.nth),
        'is_chunk', string_agg(format(k.match, 'v', 'k'), ' and ' order by k.nth))
    from (
        select c.nth, c.name, c.type,
               case when c.base < 16384 then format('pg_catalog.to_jsonb(%%s.%s)', quoted)
                    else format('pg_catalog.to_jsonb(pg_catalog.format(''%%%%s'', %%s.%s))', quoted) end as json,
               format('%%1$s.%1$s%3$s %2$s %%2$s.%1$s%3$s', quoted, replace(c.equals, '%', '%%'),
                      replace(c.compared, '%', '%%')) as match
        from _key_columns(source) c, replace(quote_ident(c.name), '%', '%%') as quoted) k
$$;
