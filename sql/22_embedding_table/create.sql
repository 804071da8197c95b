-- The embedding table of a pipeline: one row per chunk, owned by the owner of the source.

-- Our columns of the embedding table, after those of the key.
create or replace function pgembedd_internal._chunk_columns(made pgembedd_internal.pipeline)
returns table (nth bigint, name text, type text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    values (1, 'chunk_index', 'integer'), (2, 'chunk', 'text'), (3, 'start_offset', 'integer'),
           (4, 'end_offset', 'integer'), (5, 'embedding', _vectors_type(made)), (6, 'content_hash', 'bytea'),
           (7, 'model', 'text'), (8, 'tokens', 'integer'), (9, 'tokens_kept', 'integer'),
           (10, 'embedded_at', 'timestamp with time zone')
$$;

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
        raise exception using message = format('There is no schema %I for the embedding_table.', named[1]),
            hint = format('CREATE SCHEMA %I, or name another.', named[1]), errcode = 'invalid_schema_name';
    end if;
    execute format('create table %s (%s, %s, primary key (%s, chunk_index))', table_name, _key_definitions(made.source),
        (select string_agg(format('%I %s not null%s', c.name, c.type,
                    case c.name when 'embedded_at' then ' default clock_timestamp()' end), ', ' order by c.nth)
         from _chunk_columns(made) c), _column_list(made.key_columns));
    execute format('comment on table %s is %L', table_name,
        format('Chunks of %s with their vectors, kept in step by the pipeline "%s".', made.source, made.name));
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
