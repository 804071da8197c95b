-- Files that are not in the source: its column holds their URIs, and a worker fetches them with its own rights. What
-- they may begin with is said when the pipeline is made, which only a role that may act for our owner can do: so it
-- decides what the writers of a table can have fetched. The settings of a worker bound it a second time.

-- What was asked for, with the column of the URIs as the content.
create or replace function pgembedd_internal._with_uri_column(
    asked jsonb, present pgembedd_internal.pipeline
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    column_given constant boolean := asked ->> 'uri_column' is not null;
    content_given constant boolean := asked ->> 'content_columns' is not null
        or asked ->> 'content_function' is not null;
begin
    if column_given and content_given then
        raise exception using message = 'uri_column is the content of its pipeline, and another content is given, too.',
            hint = 'Leave one of the two out.', errcode = 'invalid_parameter_value';
    elsif present.id is not null and present.uri_prefixes is not null and content_given then
        raise exception using message = format('The pipeline "%s" fetches its files from URIs.', present.name),
            hint = 'Name another column of URIs as uri_column, or create a second pipeline.',
            errcode = 'invalid_parameter_value';
    elsif present.task = 'parse' and present.uri_prefixes is null
        and (column_given or asked ->> 'uri_prefixes' is not null)
    then
        raise exception using message = format('The pipeline "%s" has its files in a column.', present.name),
            hint = 'Create a second pipeline for URIs.', errcode = 'invalid_parameter_value';
    elsif present.id is null and not column_given and asked ->> 'uri_prefixes' is not null then
        raise exception using message = 'uri_prefixes are given, and no column of URIs.',
            hint = 'Name it: uri_column => ''location''.', errcode = 'invalid_parameter_value';
    end if;
    return asked || case when column_given then jsonb_build_object(
        'content_columns', jsonb_build_array(asked -> 'uri_column')) else '{}' end;
end $$;

-- Refuses URIs without prefixes, and prefixes that name no place. `asked` may set them to null.
create or replace function pgembedd_internal._check_uri_options(
    made pgembedd_internal.pipeline, asked jsonb
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    wrong constant text := (select quote_literal(u) from unnest(made.uri_prefixes) as u
                            where not _is_uri_prefix(u) limit 1);
begin
    if made.uri_prefixes = '{}' or made.uri_prefixes is null
        and (num_nonnulls(made.recheck_interval, made.objects_uri) > 0 or asked ->> 'uri_column' is not null
             or asked ? 'uri_prefixes' and made.id is not null and asked -> 'uri_prefixes' = 'null')
    then
        raise exception using message = 'A pipeline of URIs needs uri_prefixes: what they may begin with.',
            hint = 'For example uri_prefixes => ''{https://docs.example.com/manuals/}''.',
            errcode = 'invalid_parameter_value';
    elsif wrong is not null then
        raise exception using message = _cut(format('The prefix %s is none of a URI that is fetched.', wrong)),
            hint = 'Take https://host/path/, file:///folder/ or s3://bucket/path/; https:// alone is all public hosts.',
            errcode = 'invalid_parameter_value';
    elsif made.recheck_interval not between interval '1 minute' and interval '1000 days' then
        raise exception using message = format('recheck_interval %s is out of range.', made.recheck_interval),
            hint = 'Take 1 minute to 1000 days, or leave it out: then a file is fetched once.',
            errcode = 'invalid_parameter_value';
    elsif made.objects_uri is not null and (made.objects_uri !~ '^(file|s3|gs|az)://.*/$'
        or not exists (select from unnest(made.uri_prefixes) as u where starts_with(made.objects_uri, u)))
    then
        raise exception using message = _cut(format('The objects of %L cannot be listed.', made.objects_uri)),
            hint = 'Name a folder or a part of a bucket that begins with one of the uri_prefixes and ends with /.',
            errcode = 'invalid_parameter_value';
    end if;
end $$;

create or replace function pgembedd_internal._is_uri_prefix(prefix text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select prefix ~ '^(https://|file:///|(s3|gs|az)://[^/])'
           and prefix !~ '[[:space:][:cntrl:]?#]|^[a-z0-9]+://[^/]*@|/[.][.]?(/|$)'
$$;

-- Refuses a source whose rows cannot be those of objects. What is watched unless it is said are the columns that differ
-- for another version of an object.
create or replace function pgembedd_internal._with_objects(
    made pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if made.objects_uri is null then
        return made;
    elsif made.key_columns <> made.content_columns
        or _type_of_column(made.source, 'size') is distinct from 'bigint'
        or _type_of_column(made.source, 'etag') is distinct from 'text'
        or _type_of_column(made.source, 'modified') is distinct from 'timestamp with time zone'
    then
        raise exception using message = format('%s is no table of objects.', made.source),
            hint = format('It has the columns %I text primary key, size bigint, etag text, modified timestamptz.',
                made.content_columns[1]), errcode = 'datatype_mismatch';
    end if;
    if made.asked_watch_columns is null then
        made.watch_columns := made.content_columns || '{etag,modified,size}'::text[];
    end if;
    return made;
end $$;
