create or replace function pgembedd_internal._content(pipeline pgembedd_internal.pipeline, alias text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when pipeline.content_function is not null
                -- s.* and not s, which would be the column of that name where there is one
                then format('%s(%s.*)::pg_catalog.text', pipeline.content_function, alias)
                else format(E'pg_catalog.concat_ws(E''\\n\\n'', %s)', _column_list(pipeline.content_columns, alias))
           end
$$;

create or replace function pgembedd_internal._hash(content text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('pg_catalog.sha256(pg_catalog.convert_to(coalesce(%s, ''''), ''UTF8''))', content) $$;

-- Everything that a row's chunks are made of, as one text to be hashed: with the lengths in front, no part can pass for
-- another.
create or replace function pgembedd_internal._row_hash(
    pipeline pgembedd_internal.pipeline, content text, before text, after text
) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when pipeline.formatting is null then _hash(content)
                else format('pg_catalog.sha256(%s operator(pg_catalog.||) %s operator(pg_catalog.||) %s)',
                            _hash(content), _hash(before), _hash(after)) end
$$;

create or replace function pgembedd_internal._record(columns text[], alias text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('row(%s)::pg_catalog.record', _column_list(columns, alias)) $$;

-- The condition that two rows differ in these columns. Images are compared, not values: = does not exist for json, and
-- no operator of a user's may run where this stands.
create or replace function pgembedd_internal._differs(columns text[], a text, b text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('%s operator(pg_catalog.*<>) %s', _record(columns, a), _record(columns, b)) $$;
