-- create_pipeline() where there is a pipeline of that name.

-- Whether there is one. Of several sessions that create it at once, the others wait until the first has made it.
create or replace function pgembedd_internal._is_there(made pgembedd_internal.pipeline) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not exists (select from pipeline p where p.name = made.name) then
        execute format('lock table only %s in share update exclusive mode', made.source);
    end if;
    return exists (select from pipeline p where p.name = made.name);
end $$;

-- Refuses it, except where it is asked for if_not_exists and what is asked for is what the pipeline is now, whichever
-- call made it so: create_pipeline() itself or a change since.
create or replace function pgembedd_internal._check_same(
    made pgembedd_internal.pipeline, if_not_exists boolean
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    there constant pgembedd_internal.pipeline := _pipeline(made.name);
    differences text;
begin
    if if_not_exists is not true then
        raise exception using message = format('There is a pipeline "%s" already.', made.name),
            hint = format('Choose another name, or remove it with select pgembedd.drop_pipeline(%L).', made.name),
            errcode = 'duplicate_object';
    end if;
    differences := _differences(there, _alike(made, there));
    if differences is not null then
        raise exception using
            message = _cut(format('There is a pipeline "%s" already, with another definition: %s.', made.name,
                                  differences)),
            hint = format('What it is now is in select pgembedd.pipeline_definition(%1$L). Ask for that, change it '
                          'with alter_pipeline() or change_model(), or remove it with '
                          'select pgembedd.drop_pipeline(%1$L).', made.name),
            errcode = 'duplicate_object';
    end if;
end $$;

-- Which options differ, and how; null where none does.
create or replace function pgembedd_internal._differences(
    there pgembedd_internal.pipeline, asked pgembedd_internal.pipeline
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('%s: has %s%s, asked for %s', o.name, _option_literal(d.has -> o.name),
        case when o.name = 'source' and not _exists(there.source) then ', which was dropped' end,
        _option_literal(d.asked -> o.name)), '; ' order by o.nth)
    from _option_names() o cross join (select _options(there) as has, _options(asked) as asked) d
    where (d.has -> o.name <> d.asked -> o.name or o.name = 'source' and there.source <> asked.source)
      -- Where neither names them they follow from the content, and from the columns that the table had.
      and (o.name <> 'watch_columns' or there.asked_watch_columns is not null or asked.asked_watch_columns is not null)
$$;

-- What is asked for, in the words of the pipeline that is there where both mean the same: names of one model, of one
-- embedding table; every column, where the table got further ones since.
create or replace function pgembedd_internal._alike(
    made pgembedd_internal.pipeline, there pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    named constant text[] := _table_name(made);
begin
    if strpos(made.model || there.model, ':') = 0
       and (_known_model(made.model)).name = (_known_model(there.model)).name then
        made.model := there.model;
    end if;
    made.embedding_table_name := case when named is not null then format('%I.%I', named[1], named[2]) end;
    if made.content_function is not null and made.watch_columns = _derived_watch_columns(made) then
        made.watch_columns := array(
            select a.attname::text from pg_attribute a
            where a.attrelid = made.source and a.attname = any (made.watch_columns) and a.attnum <= (
                select max(t.attnum) from pg_attribute t
                where t.attrelid = there.source and t.attname = any (there.watch_columns))
            order by 1);
    end if;
    return made;
end $$;
