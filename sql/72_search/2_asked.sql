create or replace view pgembedd_internal._asked as
    select null::text as query, null::integer as k, null::jsonb as filter, null::text as mode, null::text as per,
           null::double precision as min_similarity, null::integer as skip,
           null::@extschema:vector@.vector as embedding,
           null::double precision as semantic_weight, null::double precision as text_weight, null::integer as rrf_k,
           null::integer as snippet_length, null::text[] as snippet_marks,
           -- The filter as a condition on the row `s`; with what must stand in no chunk of a row, for the leg by words;
           -- and with all that the query requires, for the leg by meaning.
           null::text as condition, null::text as words_condition, null::text as near_condition,
           -- How long the list of each leg is; where something filters, how many rows or chunks the planner expects to
           -- pass, what it costs to read them all, in its units, whether an index leads to them, and of how many tables
           -- they are: the partitions that may have some.
           null::integer as wanted, null::double precision as matches, null::double precision as exact_cost,
           null::boolean as by_index, null::integer as parts,
           null::boolean as filtered,  -- whether an index scan meets rows that are no hits
           null::oid[] as indexes,  -- of the vectors' table: whose entries count as visited
           -- Without the operators; its lexemes, the rarest first, each as a tsquery, too, with the share of rows that
           -- hold it, how many rows are expected to hold it or a rarer one, and the idf; what must and must not occur;
           -- the table where the caller may look them up, its rows, and their length.
           null::text as plain, null::text[] as words, null::tsquery[] as lexemes, null::double precision[] as shares,
           null::double precision[] as expected, null::double precision[] as idfs,
           null::tsquery as required, null::tsquery as excluded,
           null::regclass as words_table, null::double precision as documents,
           null::double precision as average_length
    where false;
comment on view pgembedd_internal._asked is
    'What is asked of a search: the parameters and options of search(), and what _asked() makes of them.';

create or replace view pgembedd_internal._search_hit as
    select null::jsonb as key, null::integer as chunk_index, null::double precision as similarity,
           null::double precision as score, null::integer as semantic_rank, null::integer as text_rank,
           null::double precision as held
    where false;
comment on view pgembedd_internal._search_hit is
    'A row or chunk that was found; `held` is the share of the query''s idf in the words that it has.';

-- The columns of search(). A row type, as PL/pgSQL takes no parameter and column of RETURNS TABLE of one name.
create or replace view pgembedd_internal._similar_hit as
    select null::jsonb as key, null::integer as chunk_index, null::double precision as score,
           null::double precision as similarity, null::integer as semantic_rank, null::integer as text_rank,
           null::text as snippet, null::jsonb as record, null::jsonb as place
    where false;
comment on view pgembedd_internal._similar_hit is
    'What similar() returns of a row.';

-- Checks what is asked, and completes it.
create or replace function pgembedd_internal._asked(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text;
begin
    ignored := _check_search(target, asked);
    ignored := _check_search_rights(target);
    asked.skip := coalesce(asked.skip, 0);
    asked.condition := _search_plain_filter(target, asked.filter);
    asked.condition := coalesce(asked.condition, _search_filter(target.source, asked.filter));
    asked.words_condition := asked.condition;
    asked.near_condition := asked.condition;
    asked.filtered := asked.condition <> 'true' or row_security_active(target.vectors);
    asked.plain := asked.query;
    asked.mode := case when asked.mode = 'semantic' then asked.mode else _search_mode(target, asked) end;
    if asked.mode = 'semantic' then return asked; end if;
    asked.words_table := case when row_security_active(target.source) then target.words else target.words_view end;
    asked := _search_words_asked(target, asked);
    if _blank(asked.plain) then
        raise exception using message = 'The query only says which words must not occur.',
            hint = 'Say what is searched, too.', errcode = 'invalid_parameter_value';
    end if;
    if asked.excluded is not null and asked.per = 'row' and target.chunked then
        asked.words_condition := format('(%s) and not exists (%s)', asked.condition,
                                        _search_words_of_row(target, asked, asked.excluded));
        asked.near_condition := asked.words_condition;
        asked.filtered := true;
    end if;
    if asked.required is not null then
        asked.near_condition := format('(%s) and exists (%s %s)', asked.words_condition,
            _search_words_of_row(target, asked, asked.required),
            case when target.chunked then 'and w.chunk_index operator(pg_catalog.=) v.chunk_index' end);
        asked.filtered := true;
    end if;
    return asked;
end $$;

-- A query for the words of the source row `s` that match.
create or replace function pgembedd_internal._search_words_of_row(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, wanted tsquery
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format('select from %s w where %s and w.pgembedd_words operator(pg_catalog.@@) %L::pg_catalog.tsquery',
                  asked.words_table, format(target.key_match, 'w', 's'), wanted);
end $$;

-- The mode as it can be done: hybrid becomes semantic without words of the pipeline or of the query.
create or replace function pgembedd_internal._search_mode(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    readable constant boolean := coalesce(has_table_privilege(target.words, 'select'), false);
    -- What the source has had since the last sweep: the words show the caller no row.
    lacking constant text := case
        when not row_security_active(target.source) then case when target.words_view is null then 'name' end
        when not exists (select from pg_policy p where p.polrelid = target.words and p.polname = 'pgembedd_source')
        then 'row level security' end;
begin
    if asked.mode is null or asked.mode not in ('hybrid', 'text') then
        raise exception using message = format('The mode %L is not known.', asked.mode),
            hint = 'There are hybrid, semantic and text.', errcode = 'invalid_parameter_value';
    elsif asked.mode = 'text' and target.words is null then
        raise exception using message = target.no_words,
            hint = 'Search with mode => ''semantic''' || case when target.text_configs = '{}' then format(
                ', or have words made: select pgembedd.alter_pipeline(%L, text_config => ''english'').', target.name)
                else '.' end, errcode = 'object_not_in_prerequisite_state';
    elsif asked.mode = 'text' and not readable then
        raise exception 'The role % may not read %, without which it cannot search by words.',
            quote_ident(current_user), target.words using errcode = 'insufficient_privilege',
            hint = format('Roles with SELECT on the whole of %s get it with the next sweep.', target.source);
    elsif asked.mode = 'hybrid' and (not readable or asked.query is null or _blank(asked.query)) then
        return 'semantic';
    elsif lacking is not null then
        if asked.mode = 'text' then
            raise exception using message = format('The words of "%s" have not got the %s of %s yet.', target.name,
                       lacking, target.source),
                hint = 'The next sweep gives it to them; mode => ''semantic'' needs none.',
                errcode = 'object_not_in_prerequisite_state';
        end if;
        raise notice 'The words of "%" have not got the % of % yet, so only the meaning is searched.',
            target.name, lacking, target.source;
        return 'semantic';
    end if;
    return asked.mode;
end $$;
