-- The name of the content function with its schema, or a refusal. content_function is the fourth parameter of
-- create_pipeline(): a call by position may have a model or a column there.
create or replace function pgembedd_internal._content_function(
    function regprocedure, made pgembedd_internal.pipeline
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    given constant text := made.content_function;
    returned constant text := (
        select format_type(f.prorettype, null) from pg_proc f join pg_type t on t.oid = _base_type(f.prorettype)
        where f.oid = function and t.typcategory <> 'S');
begin
    if function is null and made.id is null and (
        strpos(given, ':') > 0 or _model_meant(given) is not null or (_known_model(given)).name is not null)
    then
        raise exception using message = format('%L is a model, not a content_function.', given),
            hint = format('Write model => %L: all arguments after the third are given by name.', given),
            errcode = 'invalid_parameter_value';
    elsif function is null and made.id is null and _type_of_column(made.source, given) is not null then
        raise exception using message = format('%L is a column, not a content_function.', given),
            hint = format('Write %s: all arguments after the third are given by name.', format(
                case when made.content_columns is not null or given <> all (_watchable_columns(made.source))
                     then 'embedding_column => %L' else 'content_columns => array[%L]' end, given)),
            errcode = 'invalid_parameter_value';
    elsif function is null and made.id is null and made.content_columns is not null then
        raise exception using message = format('content_columns are given, and then %L as content_function.', given),
            hint = 'Give one of the two. All arguments after the third are given by name, as in '
                   'model => ''gte-small''.',
            errcode = 'invalid_parameter_value';
    elsif function is null then
        raise exception using message = format('There is no function %s(%s).', given, made.source_name),
            hint = 'content_function takes one row of the source and returns text.', errcode = 'undefined_function';
    elsif not exists (select from pg_proc f where f.oid = function and f.prokind = 'f' and not f.proretset) then
        raise exception using message = format('%s(%s) is no function that returns one value.', given,
                made.source_name),
            hint = 'content_function takes one row of the source and returns text.', errcode = 'wrong_object_type';
    elsif returned is not null then
        raise exception using message = format('%s(%s) returns %s, not text.', given, made.source_name, returned),
            hint = 'content_function takes one row of the source and returns text: array_to_string() joins an array.',
            errcode = 'wrong_object_type';
    end if;
    return (select format('%I.%I', n.nspname, f.proname)
            from pg_proc f join pg_namespace n on n.oid = f.pronamespace where f.oid = function);
end $$;

create or replace function pgembedd_internal._check_columns(
    made pgembedd_internal.pipeline, columns text[], option text
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing text := _missing_columns(made.source, columns);
begin
    if missing is not null then
        raise exception using
            message = _cut(format('%s has no column %s, named in %s.', made.source, missing, option)),
            hint = format('It has: %s.', (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                                   where a.attrelid = made.source and a.attnum > 0 and not a.attisdropped)),
            errcode = 'undefined_column';
    end if;
end $$;

-- With a content function we cannot know what it reads: every column but vectors, which are results.
create or replace function pgembedd_internal._watchable_columns(source regclass) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select array_agg(a.attname::text order by a.attnum)
    from pg_attribute a
    where a.attrelid = source and a.attnum > 0 and not a.attisdropped
      and not exists (
        select from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_type'::regclass and d.objid = a.atttypid and d.deptype = 'e' and e.extname = 'vector')
$$;

-- What is watched where watch_columns is not given.
create or replace function pgembedd_internal._derived_watch_columns(made pgembedd_internal.pipeline) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _written_columns(made.source, coalesce(
        case when made.content_function is null
             then made.content_columns || _formatting_columns(made) || made.text_config_column end,
        _watchable_columns(made.source)))
$$;

-- A generated column changes with those it is made of, and the triggers do not always see it: what stands in the
-- place of such a column is the columns behind it.
create or replace function pgembedd_internal._written_columns(source regclass, columns text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct written.attname::text), '{}')
    from unnest(columns) as c(name)
    join pg_attribute named on named.attrelid = source and named.attname = c.name
    left join pg_attrdef made on made.adrelid = source and made.adnum = named.attnum and named.attgenerated <> ''
    left join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = made.oid and d.refobjid = source
                         and d.refclassid = 'pg_class'::regclass and d.refobjsubid not in (0, named.attnum)
    join pg_attribute written on written.attrelid = source and written.attgenerated = ''
                             and written.attnum = case named.attgenerated when '' then named.attnum
                                                       else d.refobjsubid end
$$;
