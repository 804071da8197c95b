-- Search in one call. Everything that reads a user's table runs as the caller, so that row level security and the
-- grants on columns hold. STABLE: all statements inside see one snapshot.

create or replace function pgembedd.search(
    pipeline text,
    query text,
    k integer default 10,
    filter jsonb default null,
    skip integer default 0,
    mode text default 'hybrid',
    min_similarity double precision default null,
    per text default 'row',
    embedding @extschema:vector@.vector default null,
    options jsonb default '{}'
) returns table (
    key jsonb, chunk_index integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, record jsonb, place jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    target pgembedd_internal._search_target;
    asked pgembedd_internal._asked;
    hits pgembedd_internal._similar_hit[];
    ignored text;
begin
    target := _search_target(pipeline, null, mode is distinct from 'semantic');
    select query, k, filter, skip, mode, min_similarity, per, embedding
    into asked.query, asked.k, asked.filter, asked.skip, asked.mode, asked.min_similarity, asked.per, asked.embedding;
    asked := _asked(target, _search_with_options(asked, options, _search_options()));
    asked.embedding := case when asked.mode <> 'text'
                            then coalesce(embedding, embed(asked.plain, pipeline => target.name)) end;
    -- Not within unnest(), for whose number of rows the planner would search, too.
    hits := coalesce(_search_page(target, asked), _search_rows(target, asked, _search_hits(target, asked)));
    return query select h.* from unnest(hits) h;
    ignored := _search_waiting(target.id, target.name, true);
end $$;
comment on function pgembedd.search(
    text, text, integer, jsonb, integer, text, double precision, text, @extschema:vector@.vector, jsonb) is
    'Search a pipeline by its name: the k best rows or chunks that pass the filter, with their scores, as the caller.';

create or replace function pgembedd.search(
    source anyelement,
    query text,
    k integer default 10,
    filter jsonb default null,
    skip integer default 0,
    mode text default 'hybrid',
    min_similarity double precision default null,
    per text default 'row',
    embedding @extschema:vector@.vector default null,
    pipeline text default null,
    options jsonb default '{}'
) returns table (
    key jsonb, chunk_index integer, score double precision, similarity double precision, semantic_rank integer,
    text_rank integer, snippet text, record anyelement, place jsonb)
language plpgsql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
#variable_conflict use_variable
declare
    target pgembedd_internal._search_target;
    asked pgembedd_internal._asked;
    ignored text;
begin
    target := _search_target(pipeline, _searched_table(pg_typeof(source)), mode is distinct from 'semantic');
    select query, k, filter, skip, mode, min_similarity, per, embedding
    into asked.query, asked.k, asked.filter, asked.skip, asked.mode, asked.min_similarity, asked.per, asked.embedding;
    asked := _asked(target, _search_with_options(asked, options, _search_options()));
    ignored := _check_whole_row(target);
    asked.embedding := case when asked.mode <> 'text'
                            then coalesce(embedding, embed(asked.plain, pipeline => target.name)) end;
    return query execute _search_rows_statement(target, true)
    using _search_hits(target, asked), asked.embedding, _search_any(asked.lexemes), asked.snippet_marks,
          asked.snippet_length, target.text_configs[1], asked.skip;
    ignored := _search_waiting(target.id, target.name, true);
end $$;
comment on function pgembedd.search(
    anyelement, text, integer, jsonb, integer, text, double precision, text, @extschema:vector@.vector, text,
    jsonb) is
    'Search a table, given as null::some_table: as search() by name, with each hit''s record in the table''s own type.';

-- The page where it is the beginning of what the index gives at once, with what is shown, by the statements that are
-- kept; null of any other.
create or replace function pgembedd_internal._search_page(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._similar_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    hits pgembedd_internal._similar_hit[];
begin
    if asked.mode <> 'semantic' or target.kept is not true or target.chunked and asked.per = 'row'
       or asked.skip + asked.k > 100 or asked.min_similarity is not null or asked.filtered
       or target.indexes is null or target.has_parts or not has_table_privilege(target.source, 'select') then
        return null;
    end if;
    execute format('select %s($1, $2, null, $3, $4, null, $5, $6, $7)', _search_kept(target.id, 'page')) into hits
    using asked.embedding, target.rows, asked.snippet_marks, asked.snippet_length,
          _search_length(asked.skip + asked.k), asked.skip, asked.k;
    return hits;
end $$;

-- What is shown of the hits, in their order.
create or replace function pgembedd_internal._search_rows(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, hits pgembedd_internal._search_hit[]
) returns pgembedd_internal._similar_hit[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    rows pgembedd_internal._similar_hit[];
begin
    execute case when target.kept and has_table_privilege(target.source, 'select')
                 then format('select %s($1, $2, $3, $4, $5, $6, $7)', _search_kept(target.id, 'rows'))
                 else _search_rows_statement(target, false) end
    into rows using hits, asked.embedding, _search_any(asked.lexemes), asked.snippet_marks, asked.snippet_length,
                    target.text_configs[1], asked.skip;
    return rows;
end $$;

-- The hits with what is shown of each: $1 has the hits, $2 the vector, $3 the words, $4 the marks, $5 the length of a
-- snippet, $6 the words' configuration, $7 how many are left out before them. A hit without a rank is one of a list by
-- meaning alone. The row is JSON, and all of them an array, or `whole`, in the table's own type.
create or replace function pgembedd_internal._search_rows_statement(
    target pgembedd_internal._search_target, whole boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    shown constant record := _search_shown(target, _most('row'));
begin
    return format(
        case when whole then 'select %s from %s'
             else 'select array(select row (%s)::pgembedd_internal._similar_hit from %s)' end,
        format('i.key, i.chunk_index, i.score, coalesce(i.similarity, %s), case when i.text_rank is null then coalesce('
            'i.semantic_rank, ($7 operator(pg_catalog.+) i.nth)::pg_catalog.int4) else i.semantic_rank end, '
            'i.text_rank, %s, %s, %s',
            format(target.similarity_at, format(target.distance_to, target.alias, 2)), shown.snippet,
            case when whole then format('(s.*)::%s', target.source) else shown.row_expression end,
            _search_place_expression(target)),
        format('pg_catalog.unnest($1) with ordinality '
            'as i(key, chunk_index, similarity, score, semantic_rank, text_rank, held, nth) %s %s order by i.nth',
            target.row_of_key, case when target.chunked then format(
                'join %s v on %s and v.chunk_index operator(pg_catalog.=) i.chunk_index', target.vectors,
                format(target.key_match, 'v', 'k')) end));
end $$;
