-- The name of a text search configuration with its schema, where the caller's search_path finds one; else what was
-- given. Not pinned to a search_path for that reason.
create or replace function pgembedd_internal._text_config(name text) returns text
language plpgsql stable
as $$
begin
    return coalesce(
        (select pg_catalog.format('%I.%I', n.nspname, c.cfgname)
         from pg_catalog.parse_ident(name) as parts, pg_catalog.pg_ts_config c
         join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.cfgnamespace
         where case when pg_catalog.cardinality(parts) operator(pg_catalog.=) 1 then
                    c.cfgname operator(pg_catalog.=) parts[1]::pg_catalog.name
                    and pg_catalog.pg_ts_config_is_visible(c.oid)
               else c.cfgname operator(pg_catalog.=) parts[2]::pg_catalog.name
                    and n.nspname operator(pg_catalog.=) parts[1]::pg_catalog.name end),
        name);
exception when invalid_parameter_value then
    return name;
end $$;

-- Of a name with its schema, in quotes or not; null of any other text.
create or replace function pgembedd_internal._text_config_oid(name text) returns oid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    parts text[];
begin
    parts := parse_ident(name);  -- not above, where what it raises is not caught
    return (select c.oid from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace
            where n.nspname = parts[1] and c.cfgname = parts[2] and cardinality(parts) = 2);
exception when invalid_parameter_value then
    return null;
end $$;

-- The pipeline with the configuration of its words, both fields null where there is to be no search by words. The
-- option names a configuration, or a column of the source that names that of each row.
create or replace function pgembedd_internal._with_text_config(
    made pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if made.text_config is null or made.text_config = 'none' then
        made.text_config := null;
        return made;
    end if;
    if 'pgembedd_words' = any (made.key_columns) then
        raise exception using
            message = format('The key column "pgembedd_words" of %s is called like that of its words.', made.source),
            hint = 'Rename it, or take text_config => ''none'', for no search by words.', errcode = 'duplicate_column';
    elsif _text_config_oid(made.text_config) is null then
        if not exists (
            select from pg_attribute a join pg_type t on t.oid = _base_type(a.atttypid)
            where a.attrelid = made.source and a.attname = made.text_config and a.attnum > 0 and not a.attisdropped
              and (t.typcategory = 'S' or t.oid = 'regconfig'::regtype))
        then
            raise exception using
                message = format('There is no text search configuration %s.', quote_literal(made.text_config)),
                hint =
                    format(E'Take one of \\dF, a column of %s that names one for each row, or none, for no search by '
                       'words.', made.source), errcode = 'undefined_object';
        end if;
        made.text_config_column := made.text_config;
        made.text_config := _text_config(current_setting('default_text_search_config'));
    end if;
    return made;
end $$;

-- Refuses a column of which none of the first values names a configuration: it holds something else. Where there are no
-- values yet, any column is taken.
create or replace function pgembedd_internal._check_text_config_values(made pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named boolean;
begin
    if made.text_config_column is null or not _may_have_rows(made.source) then return; end if;
    named := nullif(_execute_once(made, format('select pg_catalog.to_jsonb(pg_catalog.bool_or(%s is not null)) from '
        '(select s.* from %s s limit 1000) s where s.%I is not null', _named_config(made, 's'), made.source,
        made.text_config_column), is_query => true), 'null')::boolean;
    if not named then
        raise exception using
            message = format('No value of %s.%I names a text search configuration.', made.source,
                made.text_config_column),
            hint = E'text_config is one of \\dF, as in ''english'', or a column that names one for each row, or none, '
                'for no search by words.', errcode = 'invalid_parameter_value';
    end if;
end $$;

-- The configuration that a row of the source names, null where it names none, as an SQL expression of the row `alias`.
create or replace function pgembedd_internal._named_config(made pgembedd_internal.pipeline, alias text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format(
        '(select c.oid::pg_catalog.regconfig from pg_catalog.pg_ts_config c '
        'join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.cfgnamespace '
        'where %1$s.%2$I::pg_catalog.text operator(pg_catalog.=) any (array[c.cfgname::pg_catalog.text, '
        'pg_catalog.format(''%%I.%%I'', n.nspname, c.cfgname)]) '
        'order by pg_catalog.pg_ts_config_is_visible(c.oid) desc, c.oid limit 1)', alias, made.text_config_column)
$$;

-- The configuration of a row of the source, as an SQL expression of the row `alias`.
create or replace function pgembedd_internal._row_config(made pgembedd_internal.pipeline, alias text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when made.text_config_column is null then format('%L::pg_catalog.regconfig', made.text_config)
                else format('coalesce(%s, %L::pg_catalog.regconfig)', _named_config(made, alias), made.text_config) end
$$;
