-- Rows like one row, by the vector that it has; of a row in chunks, by the mean of theirs. The row itself is left out.
create or replace function pgembedd.similar(
    pipeline text,
    key jsonb,
    k integer default 10,
    filter jsonb default null,
    skip integer default 0,
    min_similarity double precision default null,
    per text default 'row',
    options jsonb default '{}'
) returns setof pgembedd_internal._similar_hit
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
    target := _search_target(pipeline, null, false);
    ignored := _check_search_rights(target);
    ignored := _check_search_key(target, key);
    asked.embedding := _vector_of(target, key);
    select k, filter, skip, 'semantic', min_similarity, per
    into asked.k, asked.filter, asked.skip, asked.mode, asked.min_similarity, asked.per;
    asked := _asked(target, _search_with_options(asked, options, '{snippet_length}'));
    asked.filtered := true;
    asked.near_condition := format(
        '(%s) and not exists (select from (select %L::pg_catalog.jsonb as key) i cross join lateral %s where %s)',
        asked.near_condition, key, target.key_record, format(target.key_match, 's', 'k'));
    -- Not within unnest(), for whose number of rows the planner would search, too.
    hits := _search_rows(target, asked, _search_hits(target, asked));
    return query select h.* from unnest(hits) h;
    ignored := _search_waiting(target.id, target.name, true);
end $$;
comment on function pgembedd.similar is
    'The k rows most like the row with that key, by the vectors; filtered and complete as search(), as the caller.';

-- The vector of the row with that key.
create or replace function pgembedd_internal._vector_of(target pgembedd_internal._search_target, key jsonb)
returns @extschema:vector@.vector
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    embedding @extschema:vector@.vector;
begin
    execute format('select %1$I.avg(%2$s.%3$s::%1$I.vector) from (select $1 as key) i %4$s %5$s',
        target.vector_schema, target.alias, target.embedding, target.row_of_key, case when target.chunked
            then format('join %s v on %s', target.vectors, format(target.key_match, 'v', 'k')) end)
    into embedding using key;
    if embedding is null then
        raise exception using
            message = format('No row of "%s" has the key %s and a vector.', target.name, _shortened(key)),
            hint = _search_key_in_words(target.source, target.key_names), errcode = 'no_data_found';
    end if;
    return embedding;
end $$;
