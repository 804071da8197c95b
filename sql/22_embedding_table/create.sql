-- The table of a pipeline: one row per chunk, or per page of a file, owned by the owner of the source.

-- Our columns of it, after those of the key; the first one numbers the chunks or pages of a row.
create or replace function pgembedd_internal._table_columns(made pgembedd_internal.pipeline)
returns table (nth bigint, name text, type text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select c.nth, c.name, c.type
    from (values
        ('embed', 1, 'chunk_index', 'integer'), ('embed', 2, 'chunk', 'text'), ('embed', 3, 'start_offset', 'integer'),
        ('embed', 4, 'end_offset', 'integer'), ('embed', 5, 'embedding', _vectors_type(made)),
        ('embed', 6, 'content_hash', 'bytea'), ('embed', 7, 'model', 'text'), ('embed', 8, 'tokens', 'integer'),
        ('embed', 9, 'tokens_kept', 'integer'), ('embed', 10, 'embedded_at', 'timestamp with time zone'),
        ('parse', 1, 'page', 'integer'), ('parse', 2, 'headings', 'text[]'), ('parse', 3, 'text', 'text'),
        ('parse', 4, 'metadata', 'jsonb'), ('parse', 5, 'content_hash', 'bytea'), ('parse', 6, 'parser', 'text'),
        ('parse', 7, 'parsed_at', 'timestamp with time zone')) as c(task, nth, name, type)
    where c.task = made.task
$$;

-- The primary key of that table.
create or replace function pgembedd_internal._table_key(made pgembedd_internal.pipeline) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select made.key_columns || case made.task when 'parse' then 'page' else 'chunk_index' end $$;

-- Null for an embedding_table that names no table as SQL would; else the schema (that of the source unless it is
-- named) and the table.
create or replace function pgembedd_internal._table_name(made pgembedd_internal.pipeline) returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    parts text[];
begin
    parts := parse_ident(made.embedding_table_name);
    return case cardinality(parts) when 1 then _schema_of(made.source) || parts when 2 then parts end;
exception when invalid_parameter_value then
    return null;
end $$;

-- The table and its view; both belong to whom the source belongs to.
create or replace function pgembedd_internal._ensure_table(made pgembedd_internal.pipeline) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named text[] := _table_name(made);
    table_name text := format('%I.%I', named[1], named[2]);
begin
    if to_regnamespace(quote_ident(named[1])) is null then
        raise exception using
            message = format('There is no schema %I for the %s.', named[1], (_table_option(made)).option),
            hint = format('CREATE SCHEMA %I, or name another.', named[1]), errcode = 'invalid_schema_name';
    end if;
    execute format('create table %s (%s, %s, primary key (%s))', table_name, _key_definitions(made.source),
        (select string_agg(format('%I %s not null%s', c.name, c.type,
                    case when c.name like '%ed_at' then ' default clock_timestamp()' end), ', ' order by c.nth)
         from _table_columns(made) c), _column_list(_table_key(made)));
    execute format('comment on table %s is %L', table_name,
        format(case made.task when 'parse' then 'Pages of the files of %s, kept in step by the pipeline "%s".'
                              else 'Chunks of %s with their vectors, kept in step by the pipeline "%s".' end,
               made.source, made.name));
    perform _give_to_owner(table_name::regclass, made.source);
    return table_name::regclass;
end $$;

create or replace function pgembedd_internal._key_definitions(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('%I %s%s not null', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attcollation <> t.typcollation then format(' collate %I.%I', n.nspname, l.collname) end),
        ', ' order by k.nth)
    from _key_columns(source) k
    join pg_attribute a on a.attrelid = source and a.attname = k.name
    join pg_type t on t.oid = a.atttypid
    left join pg_collation l on l.oid = a.attcollation
    left join pg_namespace n on n.oid = l.collnamespace
$$;
