-- What a search has to know of a pipeline, as one object: parts of the statements that are put together from it, and
-- facts for the checks. Made by our owner, because callers may not read `pipeline`; it reads that table and catalogs
-- alone, runs no code of a table's owner, and what it returns gives no right. The statements run as the caller.

create or replace function pgembedd._search_target(name text, source regclass, with_words boolean default true)
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    vectors regclass;
    operator text;
    embedding text;
    embedding_no smallint;
    vector_schema text;  -- where the extension is
    vectors_schema oid;
    source_schema oid;
begin
    one := _searched(name, source);
    vectors := coalesce(one.embedding_table, one.source);
    operator := case one.distance when 'cosine' then '<=>' when 'l2' then '<->' else '<#>' end;
    embedding := coalesce(one.embedding_column, 'embedding');
    source_schema := (select c.relnamespace from pg_class c where c.oid = one.source);
    select a.attnum, n.nspname, c.relnamespace into embedding_no, vector_schema, vectors_schema
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = vectors and a.attname = embedding and not a.attisdropped;
    if embedding_no is null or source_schema is null then
        raise exception using
            message = coalesce(_problem(one), format('The pipeline "%s" cannot be searched.', one.name)),
            errcode = '22023';
    end if;
    return jsonb_build_object(  -- a regclass as text has its schema, as no user's is in the path
        'id', one.id, 'name', one.name, 'model', one.model, 'distance', one.distance, 'dimensions', one.dimensions,
        'chunked', one.embedding_table is not null, 'source_oid', one.source::oid, 'vectors_oid', vectors::oid,
        'source_schema', source_schema, 'vectors_schema', vectors_schema,
        'source', one.source::text, 'vectors', vectors::text, 'embedding_no', embedding_no,
        'embedding', quote_ident(embedding), 'operator', format('operator(%I.%s)', vector_schema, operator),
        'vector_type', format('%I.%I', vector_schema, one.vector_type), 'vector_schema', vector_schema,
        'text_columns', to_jsonb(coalesce(one.content_columns, one.watch_columns)))
        || _search_key(one.source)
        || case when with_words then _search_words_target(one) else jsonb_build_object('words', null) end;
end $$;

-- The pipeline of that name, of that table, or both.
create or replace function pgembedd._searched(name text, source regclass) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    names text[];
begin
    if name is not null then
        select p.* into one from pipeline p where p.name = $1;
        if one.id is null then
            raise exception using message = _cut(format('There is no pipeline "%s".', name)),
                hint = _pipelines_there(), errcode = '22023';
        elsif one.source <> source then
            raise exception using message = format('The pipeline "%s" is of %s, not of %s.', name, one.source, source),
                hint = 'Name one of the table, or leave the pipeline out.', errcode = '22023';
        end if;
        return one;
    elsif source is null then
        raise exception using message = 'Say what is to be searched: a pipeline''s name, or null::some_table.',
            hint = 'For example pgembedd.search(''documents'', ''some words'').', errcode = '22023';
    end if;
    names := array(select p.name from pipeline p where p.source = $2 and p.shadow_of is null order by p.name);
    if cardinality(names) <> 1 then
        raise exception using
            message = case when names = '{}' then format('%s has no pipeline, so there is nothing to search.', source)
                 else format('%s has several pipelines: %s.', source, array_to_string(names, ', ')) end,
            hint = case when names = '{}' then 'pgembedd.create_pipeline() makes one.'
                 else format('Name the one to be searched: pipeline => %L.', names[1]) end, errcode = '22023';
    end if;
    return (select p from pipeline p where p.name = names[1]);
end $$;

-- The key: as JSON, from the source `s` and from the chunks `v`, out of JSON again as `k`; the comparisons of these
-- with each other, with a chunk `c` and with the words `w`; and a name of our own, which begins no name of the key's.
create or replace function pgembedd._search_key(source regclass) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    c record;
    name text;
    value text;
    names text[];
    quoted text[];
    source_values text[]; chunk_values text[]; definitions text[];
    -- The comparisons, column by column.
    source_rows text[]; chunks text[]; chunks_of_source text[]; words_of_chunk text[]; words_of_source text[];
    comparison constant text := '%1$s.%3$s%5$s %4$s %2$s.%3$s%5$s';
begin
    for c in select k.* from _key_columns(source) k order by k.nth loop
        name := quote_ident(c.name);
        value := case when c.base < 16384 then 'pg_catalog.to_jsonb(%s.%s)'
                      else 'pg_catalog.to_jsonb(pg_catalog.format(''%%s'', %s.%s))' end;
        names := names || c.name;
        quoted := quoted || name;
        source_values := source_values || format(value, 's', name);
        chunk_values := chunk_values || format(value, 'v', name);
        -- No domain, whose check would run with the rights of the caller.
        definitions := definitions || format('%s %s', name, _qualified_type(c.base));
        source_rows := source_rows || format(comparison, 's', 'k', name, c.equals, c.compared);
        chunks := chunks || format(comparison, 'v', 'k', name, c.equals, c.compared);
        chunks_of_source := chunks_of_source || format(comparison, 's', 'v', name, c.equals, c.compared);
        words_of_chunk := words_of_chunk || format(comparison, 'c', 'v', name, c.equals, c.compared);
        words_of_source := words_of_source || format(comparison, 'w', 's', name, c.equals, c.compared);
    end loop;
    return jsonb_build_object('key_names', names,
        'own', _search_own(names), 'source_columns', 's.' || array_to_string(quoted, ', s.'),
        'chunk_columns', 'v.' || array_to_string(quoted, ', v.'),
        'source_key', _search_key_object(names, source_values), 'chunk_key', _search_key_object(names, chunk_values),
        'key_record', format('pg_catalog.jsonb_to_record(%s) as k(%s)',
            case when cardinality(names) > 1 then 'i.key'
                 else format('pg_catalog.jsonb_build_object(%L, i.key)', names[1]) end,
            array_to_string(definitions, ', ')),
        'is_source_row', array_to_string(source_rows, ' and '), 'is_chunk', array_to_string(chunks, ' and '),
        'chunk_is_of_source', array_to_string(chunks_of_source, ' and '),
        'words_of_chunk', array_to_string(words_of_chunk, ' and '),
        'words_of_source', array_to_string(words_of_source, ' and '));
end $$;

create or replace function pgembedd._search_own(names text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    own text := 'pgembedd0';
begin
    while strpos(E'\x1f' || array_to_string(names, E'\x1f'), E'\x1f' || own) > 0 loop
        own := 'pgembedd' || substr(own, 9)::integer + 1;
    end loop;
    return own;
end $$;

-- The key as in a message: the bare value, or an object when it has several columns.
create or replace function pgembedd._search_key_object(names text[], expressions text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(names) = 1 then return expressions[1]; end if;
    return (select format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', n, e), ', '))
            from unnest(names, expressions) as t(n, e));
end $$;
