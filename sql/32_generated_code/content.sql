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

-- Tells one content of a row from another: 64 bits, which take a tenth of the time of SHA-256.
create or replace function pgembedd_internal._mark(content text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('pg_catalog.int8send(pg_catalog.hashtextextended(coalesce(%s, '''') collate pg_catalog."C", 0))',
                  content)
$$;

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
-- no operator of a user's may run where this stands. A `file` that both rows have in one place is not read for that:
-- from PostgreSQL 17 on the place of a large value can be asked for.
create or replace function pgembedd_internal._differs(columns text[], a text, b text, file text default null)
returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when file is null or to_regproc('pg_catalog.pg_column_toast_chunk_id') is null
                then format('%s operator(pg_catalog.*<>) %s', _record(columns, a), _record(columns, b))
                else format('(%1$s case when pg_catalog.pg_column_toast_chunk_id(%2$s.%3$I) operator(pg_catalog.=) '
                            'pg_catalog.pg_column_toast_chunk_id(%4$s.%3$I) then false else %5$s end)',
                            (select _differs(array_remove(columns, file), a, b) || ' or'
                             where array_remove(columns, file) <> '{}'),
                            a, file, b, _differs(array[file], a, b)) end
$$;

-- The column of a pipeline's files; null where it has texts.
create or replace function pgembedd_internal._file_column(pipeline pgembedd_internal.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case pipeline.task when 'parse' then pipeline.content_columns[1] end $$;

-- The file of the row `alias`, as an SQL expression.
create or replace function pgembedd_internal._file(pipeline pgembedd_internal.pipeline, alias text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format(case when _is_bytea(pipeline) then '%s.%I'
                       else 'pg_catalog.convert_to(%s.%I::pg_catalog.text, ''UTF8'')' end,
                  alias, _file_column(pipeline))
$$;

create or replace function pgembedd_internal._file_hash(file text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('pg_catalog.sha256(coalesce(%s, ''''))', file) $$;
