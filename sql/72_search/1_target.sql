-- The row type of a view without rows, as a migration makes a view again, and a type only once.
create or replace view pgembedd_internal._search_target as
    select null::integer as id, null::text as name, null::text as model, null::text as distance,
           null::integer as dimensions, null::boolean as chunked, null::regclass as source, null::regclass as vectors,
           null::oid as source_schema, null::oid as vectors_schema, null::text[] as text_columns,
           -- The vectors: the alias and name of their column, the extension's schema; the distance of those of %1$s to
           -- the parameter %2$s, and the similarity at the distance %s.
           null::text as alias, null::text as embedding, null::smallint as embedding_no, null::text as vector_schema,
           null::text as distance_to, null::text as similarity_at,
           -- The key: its columns and its JSON in %1$s, the comparison of %1$s with %2$s, and out of the JSON `i.key`
           -- as `k`; the joins from there to the row `s`; and a name of our own, which begins no name of the key's.
           null::text[] as key_names, null::text as key_columns, null::text as key_json, null::text as key_match,
           null::text as key_record, null::text as row_of_key, null::text as own,
           -- Of a hit: the number of its chunk, and its key and that, in %1$s.
           null::text as chunk_index, null::text as hit_columns,
           -- The words, or why there are none.
           null::regclass as words, null::regclass as words_view, null::text as no_words, null::oid[] as text_configs,
           -- What a hit shows to a role that may read the whole of `s`, and the text that its snippet is made of;
           -- whether the rows are pages of files, and whether functions have the statements of most searches.
           null::text as row_expression, null::text as content, null::boolean as pages, null::boolean as kept,
           -- For filters: `columns` of Postgres's own types, with these, and statements, as what stands around their
           -- filter, by path and what is found, as in exact_row. Null where it is not prepared.
           null::jsonb as filters,
           -- The indexes of the vectors that are valid, whether each has all rows, and the links of their graphs, `m`;
           -- of the table as it is now, its rows and pages as the planner knows them, and whether it has parts.
           null::oid[] as indexes, null::boolean as whole, null::double precision as links,
           null::double precision as rows, null::double precision as disk_pages, null::boolean as has_parts
    where false;
comment on view pgembedd_internal._search_target is
    'What a search has to know of a pipeline: facts for the checks, and parts of statements.';

-- What the parts of a target follow from: the names of the tables, names and types of their columns, the valid indexes
-- of the key and the vectors, and what the pipeline is; and how large the vectors' table is. A view, as a function of
-- it would be one more statement of each search, with subqueries, as they take less to begin with than joins.
create or replace view pgembedd_internal._search_basis as
    select one.id as pipeline_id, one.name, one.task,
           concat_ws(' ', one.source, one.source::oid, one.embedding_table, one.embedding_table::oid,
               one.embedding_column, one.model, one.distance, one.content_columns, one.watch_columns,
               one.text_config, one.words_table, one.words_table::oid,
               (select bit_xor(hashoidextended(i.indexrelid, 0)) from pg_index i
                where i.indrelid in (one.source, one.embedding_table) and i.indisvalid and (i.indisprimary
                    or i.indkey[0] = (select v.attnum from pg_attribute v where v.attrelid = c.oid
                                      and v.attname = coalesce(one.embedding_column, 'embedding')))),
               (select bit_xor(hashnameextended(a.attname, hashint8extended(
                           (a.attrelid::bigint << 32) + a.atttypid::bigint, a.attnum)) # case
                           when a.atttypid >= 16384
                           then (select hashtextextended(concat(t.typnamespace::regnamespace, '.', t.typname,
                                                                t.typbasetype::regtype), a.attnum)
                                 from pg_type t where t.oid = a.atttypid) else 0 end)
                from pg_attribute a
                where a.attrelid in (one.source, one.embedding_table) and a.attnum > 0 and not a.attisdropped)
           ) as basis,
           greatest(c.reltuples, 0)::double precision as rows, c.relpages::double precision as disk_pages,
           c.relhassubclass as has_parts
    from pgembedd_internal.pipeline one
    left join pg_class c on c.oid = coalesce(one.embedding_table, one.source);
comment on view pgembedd_internal._search_basis is
    'What a prepared search follows from: where it is another, what a search has to know is looked up.';

-- Made by our owner, because callers may not read `pipeline`; it reads our tables and catalogs alone, runs no code of a
-- table's owner, and what it returns gives no right. The statements run as the caller. Where `with_words` is null it
-- is asked for the key alone, as of a pipeline without vectors.
create or replace function pgembedd_internal._search_target(name text, source regclass, with_words boolean default true)
returns pgembedd_internal._search_target
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off  -- as in what was prepared
as $$
declare
    one pgembedd_internal.pipeline;
    prepared jsonb;
    target pgembedd_internal._search_target;
    ignored text;
begin
    if source is not null then name := (_searched(name, source)).name; end if;
    select s.target, s.filters, b.rows, b.disk_pages, b.has_parts
    into prepared, target.filters, target.rows, target.disk_pages, target.has_parts
    from _search_basis b
    -- In a subquery, lest a hash join make the basis twice.
    left join lateral (select s.* from prepared_search s where s.pipeline_id = b.pipeline_id offset 0) s
    on s.basis = b.basis
    where b.name = $1 and (b.task = 'embed' or with_words is null);
    if prepared is not null then
        target := jsonb_populate_record(target, prepared);
    else
        one := _searched(name, source);
        if with_words is not null then ignored := _check_has_vectors(one); end if;
        target := _made_search_target(one, target);
        if target.embedding_no is null or target.source_schema is null then
            raise exception using
                message = coalesce(_problem(one), format('The pipeline "%s" cannot be searched.', one.name)),
                errcode = 'object_not_in_prerequisite_state';
        end if;
    end if;
    target.name := name;
    if with_words and (has_table_privilege(target.words_view, 'select') is null  -- it is not prepared, or was dropped
                       or pg_ts_config_is_visible(target.text_configs[1]) is null) then
        target := _with_search_words(target);
    end if;
    return target;
end $$;

create or replace function pgembedd_internal._made_search_target(
    one pgembedd_internal.pipeline, target pgembedd_internal._search_target default null
) returns pgembedd_internal._search_target
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    target.id := one.id;
    target.name := one.name;
    target.model := one.model;
    target.distance := one.distance;
    target.dimensions := one.dimensions;
    target.chunked := one.embedding_table is not null;
    target.source := one.source;
    target.vectors := coalesce(one.embedding_table, one.source);
    target.text_columns := coalesce(one.content_columns, one.watch_columns);
    target.pages := _holds_pages(one.source);
    target.alias := case when target.chunked then 'v' else 's' end;
    target.embedding := quote_ident(_vector_column(one));
    target.source_schema := (select c.relnamespace from pg_class c where c.oid = target.source);
    select a.attnum, n.nspname, c.relnamespace into target.embedding_no, target.vector_schema, target.vectors_schema
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = target.vectors and a.attname = _vector_column(one) and not a.attisdropped
      -- A column of the key that was renamed is not in the embedding table.
      and (not target.chunked
           or _missing_columns(target.vectors, array(select k.name from _key_columns(one.source) k)) is null);
    select array_agg(i.indexrelid), bool_and(i.indpred is null),
           max(coalesce((select o.option_value::double precision from pg_options_to_table(c.reloptions) o
                         where o.option_name = 'm'), 16))
    into target.indexes, target.whole, target.links
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
    where i.indrelid = target.vectors and i.indisvalid and i.indkey[0] = target.embedding_no
      and m.amname in ('hnsw', 'ivfflat');
    target.distance_to := format('(%%1$s.%s $%%2$s::%s)',
        replace(target.embedding || ' ' || _distance_operator(one.distance), '%', '%%'),
        replace(_vector_type(one.vector_type), '%', '%%'));
    target.similarity_at := case one.distance
        when 'cosine' then '(1 operator(pg_catalog.-) %s)' when 'ip' then '(0 operator(pg_catalog.-) %s)'  -- not -0
        else '(1 operator(pg_catalog./) (1 operator(pg_catalog.+) %s))' end;
    return _with_search_key(target);
end $$;

-- The pipeline of that name, of that table, or both.
create or replace function pgembedd_internal._searched(name text, source regclass) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    names text[];
begin
    if name is not null or source is null then
        select p.* into one from pipeline p where p.name = $1;
        if one.id is null then
            raise exception using
                message = _cut(format('There is no pipeline %s.', coalesce('"' || name || '"', 'NULL'))),
                hint = _pipelines_there(), errcode = 'undefined_object';
        elsif one.source <> source then
            raise exception using message = format('The pipeline "%s" is of %s, not of %s.', name, one.source, source),
                hint = 'Name one of the table, or leave the pipeline out.', errcode = 'invalid_parameter_value';
        end if;
        return one;
    end if;
    names := array(select p.name from pipeline p
                   where p.source = $2 and p.shadow_of is null and p.task = 'embed' order by p.name);
    if names = '{}' then  -- one that parses is refused with what can be searched
        names := array(select p.name from pipeline p where p.source = $2 order by p.name);
    end if;
    if cardinality(names) <> 1 then
        raise exception using
            message = case when names = '{}' then format('%s has no pipeline, so there is nothing to search.', source)
                 else format('%s has several pipelines: %s.', source, array_to_string(names, ', ')) end,
            hint = case when names = '{}' then 'pgembedd.create_pipeline() makes one.'
                 else format('Name the one to be searched: pipeline => %L.', names[1]) end,
            errcode = case when names = '{}' then 'undefined_object' else 'invalid_parameter_value' end;
    end if;
    return (select p from pipeline p where p.name = names[1]);
end $$;

-- A % within names stands twice in what format() takes. The key in JSON is as in a message: the bare value, or an
-- object when it has several columns. Out of it come no domains, whose checks would run with the rights of the caller.
create or replace function pgembedd_internal._with_search_key(
    target pgembedd_internal._search_target
) returns pgembedd_internal._search_target
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    select array_agg(k.name), 'pgembedd' || md5(array_agg(k.name)::text), string_agg('%1$s.' || c.quoted, ', '),
           case when count(*) = 1 then min(c.value)
                else format('pg_catalog.jsonb_build_object(%s)',
                            string_agg(replace(quote_literal(k.name), '%', '%%') || ', ' || c.value, ', ')) end,
           string_agg(concat('%1$s.', c.compared, ' ', replace(k.equals, '%', '%%'), ' %2$s.', c.compared), ' and '),
           case when count(*) = 1 and bool_and(k.base = any (_plain_types())) then min(format(
                    '(select (i.key operator(pg_catalog.#>>) ''{}'')::%s as %I) as k', _qualified_type(k.base), k.name))
                else format('pg_catalog.jsonb_to_record(%s) as k(%s)',
                    case when count(*) = 1 then format('pg_catalog.jsonb_build_object(%L, i.key)', min(k.name))
                         else 'i.key' end, string_agg(format('%I %s', k.name, _qualified_type(k.base)), ', ')) end
    into target.key_names, target.own, target.key_columns, target.key_json, target.key_match, target.key_record
    from _key_columns(target.source) k cross join lateral (
        select q.quoted, q.quoted || replace(k.compared, '%', '%%') as compared, case when k.base < 16384
                   then format('pg_catalog.to_jsonb(%%1$s.%s)', q.quoted)
                   else format('pg_catalog.to_jsonb(pg_catalog.format(''%%%%s'', %%1$s.%s))', q.quoted) end as value
        from (select replace(quote_ident(k.name), '%', '%%') as quoted) q) c;
    target.row_of_key := format('cross join lateral %s join %s s on %s', target.key_record, target.source,
                                format(target.key_match, 's', 'k'));
    target.chunk_index := case when target.chunked then 'v.chunk_index' else 'null::pg_catalog.int4' end;
    target.hit_columns := target.key_columns || case when target.chunked then ', %1$s.chunk_index' else '' end;
    return target;
end $$;

create or replace function pgembedd_internal._with_search_words(
    target pgembedd_internal._search_target
) returns pgembedd_internal._search_target
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
    view regclass;
begin
    select p.source, p.key_columns, p.text_config, p.words_table,
           array(select distinct o from unnest(p.text_config || w.configs) c, _text_config_oid(c) o
                 where o is not null) as text_configs,
           exists (select from pg_class c where c.oid = p.words_table) as has_words
    into one from pipeline p left join word_statistics w on w.pipeline_id = p.id where p.id = target.id;
    target.text_configs := one.text_configs;
    target.no_words := case
        when one.text_config is null then format('The pipeline "%s" has no search by words.', target.name)
        when target.text_configs = '{}' then format('The text search configuration %s of "%s" is gone.',
                                                    one.text_config, target.name)
        when one.key_columns <> target.key_names then _other_key(one.source, target.name)
        when not one.has_words
        then format('The words'' table of "%s" was dropped; the next sweep makes it again.', target.name) end;
    target.words := case when target.no_words is null then one.words_table end;
    view := _words_view(target.words);
    target.words_view := case when view is null then target.words  -- null where it names the source by another name
        when strpos(obj_description(view, 'pg_class'), format('to_regclass(%L)', one.source::text)) > 0 then view end;
    return target;
end $$;
