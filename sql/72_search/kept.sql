-- What most searches execute stands in functions of the pipeline, as there Postgres keeps the plans: the semantic leg
-- where nothing filters, what is shown of the hits, and both in one call, for most pages by meaning. They are made with
-- the pipeline's other code, from the same statements that any other search is put together of, and run as the caller,
-- as search() does.
create or replace function pgembedd_internal._keep_search(target pgembedd_internal._search_target) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    asked pgembedd_internal._asked;
begin
    asked.near_condition := 'true';
    foreach asked.per in array case when target.chunked then '{row,chunk}' else '{row}' end::text[] loop
        perform _keep_statement(target.id, 'nearest_' || asked.per, format(
            '(embedding %s, breadth integer, out hits pgembedd_internal._search_hit[], out seen integer, '
            'out parts integer[], out ends bigint[])', _vector_type('vector')), (
            -- With the length of the list in its text, the planner knows that an index serves.
            select format('case $2 %s end case;', string_agg(
                format('when %s then %s into hits, seen, parts, ends;', b.breadth,
                       _search_made_statement(target, asked, 'index', false, b.breadth::text)), ' '))
            from (select case when asked.per = 'row' and target.chunked then 4 else 1 end * d as breadth
                  from unnest(_search_lengths()) d) b));
    end loop;
    perform _keep_statement(target.id, 'rows', format(
        '(hits pgembedd_internal._search_hit[], embedding %s, words tsquery, marks text[], length integer, config oid, '
        'skip integer) returns pgembedd_internal._similar_hit[]', _vector_type('vector')),
        format('return (%s);', _search_rows_statement(target, false)));
    perform _keep_search_page(target);
end $$;

-- Where there is no index the statement for one would sort all rows, so the page is not by this; null is one that the
-- index does not fill at once.
create or replace function pgembedd_internal._keep_search_page(target pgembedd_internal._search_target) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _keep_statement(target.id, 'page', format(
        '(embedding %s, rows double precision, words tsquery, marks text[], length integer, config oid, '
        'breadth integer, skip integer, k integer) returns pgembedd_internal._similar_hit[]', _vector_type('vector')), (
        select format($q$
            declare
                before text[] := _search_set(breadth, null, rows);
                seen integer;
                hits pgembedd_internal._similar_hit[];
            begin
                case $7 %s end case;
                before := _search_set(settings => before);
                return case when seen >= breadth then coalesce(hits, '{}') end;
            end;
        $q$, string_agg(format('when %1$s then %2$s into seen, hits;', b.breadth,
                               _search_page_statement(target, b.breadth::text)), ' '))
        from unnest(_search_lengths()) b(breadth)));
end $$;

-- How many rows or chunks the index gives, and the hits of the page with what is shown, read once: the parameters are
-- those of _search_rows_statement(), $8 how many to leave out, and $9 how many are wanted.
create or replace function pgembedd_internal._search_page_statement(
    target pgembedd_internal._search_target, breadth text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    shown constant record := _search_shown(target, _most('row'));
begin
    return _render($q$
        select pg_catalog.count(*), pg_catalog.array_agg(row (i.key, {chunk_index}, {similarity}, {similarity},
                   {alias}.{own}_nth, null, {snippet}, {row}, {place})::pgembedd_internal._similar_hit
                   order by {alias}.{own}_nth) filter (where {alias}.{own}_nth operator(pg_catalog.>) $8
                   and {alias}.{own}_nth operator(pg_catalog.<=) ($8 operator(pg_catalog.+) $9))
        from (select {alias}.*, pg_catalog.row_number() over (
                  order by {alias}.{own} operator(pg_catalog.+) 0, {columns}) as {own}_nth from (
                  select {alias}.*, {distance} as {own} from {vectors} {alias} {where}
                  order by {distance} fetch first {breadth} rows with ties) {alias}) {alias} {source}
        cross join lateral (select {key} as key) i
        $q$, jsonb_build_object('own', target.own, 'alias', target.alias, 'breadth', breadth,
        'chunk_index', target.chunk_index, 'snippet', shown.snippet, 'row', shown.row_expression,
        'similarity', format(target.similarity_at, format('%s.%s', target.alias, target.own)),
        'place', _search_place_expression(target), 'columns', format(target.hit_columns, target.alias),
        'distance', format(target.distance_to, target.alias, 1), 'vectors', target.vectors,
        'where', case when not target.chunked then format('where s.%s is not null', target.embedding) else '' end,
        'source', case when target.chunked
                       then format('join %s s on %s', target.source, format(target.key_match, 's', 'v')) else '' end,
        'key', format(target.key_json, target.alias)));
end $$;

-- Both legs of the rows that pass a filter: by arrays of their keys and distances, which are of types that have arrays.
-- Returns what stands around the filter in the call, by the name of the view of the words. Their words are read through
-- the index or each by its key: the planner knows neither the words nor how many rows there are, so it has no choice.
create or replace function pgembedd_internal._keep_search_passing(
    target pgembedd_internal._search_target
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    asked pgembedd_internal._asked;
    keys record;
    statements text[];
begin
    select bool_and(k.base = any (_plain_types())) as plain, string_agg(t.type || '[]', ', ') as types,
           string_agg(format('key_%s %s[]', k.nth, t.type), ', ') as parameters,
           string_agg(format('pg_catalog.array_agg(s.%I::%s)', k.name, t.type), ', ') as arrays,
           string_agg(format('pg_catalog.unnest($%s) as %I', 12 + k.nth, k.name), ', ') as columns
    into keys from _key_columns(target.source) k cross join lateral format_type(k.base, null) as t(type);
    if target.chunked or target.words_view is null or not keys.plain then return '{}'; end if;
    asked.near_condition := target.own || '_filter';
    statements := array(
        select _search_words_statement(target, asked, way, format('select %s, pg_catalog.unnest($12) as %I',
                                                                  keys.columns, target.own))
        from unnest('{filter,few}'::text[]) way);
    perform _drop_generated(array(  -- where the key is of another type since
        select f.oid from pg_proc f
        where f.pronamespace = 'pgembedd_internal'::regnamespace and f.proname = format('_search_%s_passing', target.id)
          and oidvectortypes(f.proargtypes) not like '%, double precision[], ' || keys.types));
    perform _keep_statement(target.id, 'passing', format(
        '(any_of tsquery, others tsquery, required tsquery, most integer, wanted integer, lexemes tsquery[], '
        'idfs double precision[], embedding %s, min_similarity double precision, average_length double precision, '
        'by_key boolean, distances double precision[], %s, out hits pgembedd_internal._search_hit[], '
        'out candidates bigint[], out near pgembedd_internal._search_hit[])', _vector_type('vector'), keys.parameters),
        format('if by_key then %s into hits, candidates, near; else %s into hits, candidates, near; end if;',
               statements[1], statements[2]),
        'set plan_cache_mode = force_generic_plan set enable_nestloop = off set enable_seqscan = off');
    return jsonb_build_object('passing', jsonb_build_object(target.words_view, string_to_array(format(
        'select (p.found).* from (select %s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, pg_catalog.array_agg(s.%I), '
        '%s) as found from (%s) s offset 0) p', _search_kept(target.id, 'passing'), target.own, keys.arrays,
        _search_passing(target, asked, 8)), asked.near_condition)));
end $$;

-- Keeps what searches of a pipeline have to know, and what that follows from.
create or replace function pgembedd_internal._prepare_search(one pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    -- As it is before: where a table is altered meanwhile, what is made counts as out of date.
    made_for constant text := (select b.basis from _search_basis b where b.pipeline_id = one.id);
    target pgembedd_internal._search_target := _made_search_target(one);
    passing jsonb;
begin
    if target.embedding_no is null then return; end if;
    target := _with_search_words(target);
    target.words_view := nullif(target.words_view, target.words);
    if one.text_config_column is not null then target.text_configs := null; end if;  -- rows bring others
    if one.task = 'embed' and has_table_privilege(target.source, 'select') then
        select r.row_expression, r.content into target.row_expression, target.content
        from _search_row_parts(target, _most('row')) r;
        perform _keep_search(target);
        passing := _keep_search_passing(target);
        target.kept := true;
    end if;
    insert into prepared_search as s (pipeline_id, basis, target, filters)
    values (one.id, made_for, jsonb_strip_nulls(to_jsonb(target) || jsonb_build_object(
        -- A name takes a right on its schema.
        'source', target.source::oid, 'vectors', target.vectors::oid, 'words', target.words::oid,
        'words_view', target.words_view::oid)),
        _search_filters(target) || coalesce(passing, '{}'))
    on conflict (pipeline_id) do update
    set basis = excluded.basis, target = excluded.target, filters = excluded.filters;
end $$;

-- Whether tables, columns and indexes are those that the search was prepared for.
create or replace function pgembedd_internal._is_search_prepared(pipeline_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from _search_basis b join prepared_search s on s.pipeline_id = b.pipeline_id
                   where b.pipeline_id = $1 and s.basis = b.basis)
$$;

-- Prepares it again where they are not. One that cannot be is slower, no reason to stop the pipeline.
create or replace function pgembedd_internal._follow_search(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not _is_search_prepared(pipeline.id) then
        perform _prepare_search(p) from pipeline p where p.id = _follow_search.pipeline.id;
        update pipeline p set code_version = _code_version(p.id) where p.id = pipeline.id;
    end if;
exception when others then  -- as an event trigger may refuse it
    raise warning 'the search of the pipeline "%" is not prepared: %', pipeline.name, sqlerrm;
end $$;

-- Makes one of these functions, which is the installer's, for the roles that may search. Not with our schemas in the
-- path: so the signature is written in full.
create or replace function pgembedd_internal._keep_statement(
    pipeline_id integer, verb text, signature text, body text, settings text default ''
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    name constant text := pgembedd_internal._search_kept(pipeline_id, verb);
    made text;
begin
    execute format('create or replace function %s%s language plpgsql stable '
                   'set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp %s as %L', name, signature,
                   settings, E'#variable_conflict use_column\nbegin ' || body || ' end');
    made := name::regproc::regprocedure;
    perform pgembedd_internal._set_owner(made, pgembedd_internal._owner_of_schema());
    perform pgembedd_internal._let_call(a.grantee, made) from pg_proc f cross join aclexplode(f.proacl) a
    where f.oid = 'pgembedd_internal._search_hits'::regproc;
end $$;

create or replace function pgembedd_internal._search_kept(pipeline_id integer, verb text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return format('pgembedd_internal._search_%s_%s', pipeline_id, verb);
end $$;

-- The least of these lengths that suffices.
create or replace function pgembedd_internal._search_length(wanted integer) returns integer
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return (_search_lengths())[1 + width_bucket(wanted - 1, _search_lengths())];
end $$;

-- How long the lists are that have a plan, in hits.
create or replace function pgembedd_internal._search_lengths() returns integer[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return '{10,60,250,1000}';
end $$;
