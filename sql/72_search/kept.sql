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
        '(hits pgembedd_internal._search_hit[], embedding %s, words tsquery, marks text[], length integer, config oid) '
        'returns pgembedd_internal._similar_hit[]', _vector_type('vector')),
        format('return (%s);', _search_rows_statement(target, false)));
    perform _keep_search_page(target);
end $$;

-- Where there is no index the statement for one would sort all rows, so the page is not by this.
create or replace function pgembedd_internal._keep_search_page(target pgembedd_internal._search_target) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _keep_statement(target.id, 'page', format(
        '(embedding %s, vectors oid, breadth integer, skip integer, k integer, marks text[], length integer) '
        'returns pgembedd_internal._similar_hit[]', _vector_type('vector')), format($q$
            declare
                settings text[];
                hits pgembedd_internal._search_hit[];
            begin
                select _search_settings(breadth, null, greatest(c.reltuples, 0)) into settings
                from pg_class c where c.oid = vectors and not c.relhassubclass and exists (
                    select from pg_index i where i.indrelid = vectors and i.indisvalid and i.indkey[0] = %s
                    and (select a.amname from pg_class x join pg_am a on a.oid = x.relam where x.oid = i.indexrelid)
                        in ('hnsw', 'ivfflat'));
                if settings is null then return null; end if;
                settings := _search_set(settings);
                hits := (%s(embedding, breadth)).hits;
                settings := _search_set(settings);
                if cardinality(hits) < breadth then return null; end if;
                return %s(hits[skip + 1:skip + k], embedding, null, marks, length, null);
            end;
        $q$, target.embedding_no, _search_kept(target.id, case when target.chunked then 'nearest_chunk'
                                                               else 'nearest_row' end),
             _search_kept(target.id, 'rows')));
end $$;

-- Keeps what searches of a pipeline have to know, and what that follows from.
create or replace function pgembedd_internal._prepare_search(one pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    target pgembedd_internal._search_target := _made_search_target(one);
begin
    if target.embedding_no is null then return; end if;
    target.words_view := _words_view(one.words_table);
    if one.task = 'embed' and has_table_privilege(target.source, 'select') then
        select r.row_expression, r.content into target.row_expression, target.content
        from _search_row_parts(target, _most('row')) r;
        perform _keep_search(target);
        target.kept := true;
    end if;
    insert into prepared_search as s (pipeline_id, basis, target, filters)
    select b.pipeline_id, b.basis, jsonb_strip_nulls(to_jsonb(target) || jsonb_build_object(
        -- A name takes a right on its schema.
        'source', target.source::oid, 'vectors', target.vectors::oid, 'words_view', target.words_view::oid)),
        _search_filters(target)
    from _search_basis b where b.pipeline_id = one.id
    on conflict (pipeline_id) do update
    set basis = excluded.basis, target = excluded.target, filters = excluded.filters;
end $$;

-- Makes one of these functions, which is the installer's, for the roles that may search. Not with our schemas in the
-- path: so the signature is written in full.
create or replace function pgembedd_internal._keep_statement(
    pipeline_id integer, verb text, signature text, body text
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    name constant text := pgembedd_internal._search_kept(pipeline_id, verb);
    made text;
begin
    execute format('create or replace function %s%s language plpgsql stable '
                   'set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp as %L', name, signature,
                   E'#variable_conflict use_column\nbegin ' || body || ' end');
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
