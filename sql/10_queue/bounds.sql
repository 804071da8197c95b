-- What may enter, at most. A parameter is bounded by its name, alike in every function: characters of a text or of each
-- member of a list, bytes of JSON as it is kept. worker/pgembedd/settings/limits.py has the same for HTTP and MCP,
-- docs/reference/limits.md lists them, and a test compares the three.

create or replace function pgembedd_internal._most(parameter text) returns integer
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case parameter
        when 'query' then 100000 when 'content' then 1000000 when 'question' then 8000 when 'formatting' then 10000
        when 'snippet_marks' then 64 when 'subject' then 1000 when 'password' then 1000
        when 'url' then 2000 when 'url_template' then 2000 when 'token' then 2000 when 'options' then 2000
        when 'key' then 100000 when 'filter' then 8000000  -- bytes
        when 'row' then 32768  -- bytes that a hit shows of its row
        when 'read' then 20000  -- characters of a text that a snippet is looked for in
        when 'marked' then 100  -- words that a snippet marks
        when 'words' then 32  -- of a query, by which a search ranks
        else 200 end;
end $$;

create or replace function pgembedd_internal._most_members(parameter text) returns integer
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case parameter
        when 'pipelines' then 20 when 'keys' then 1000
        when 'content_columns' then 99  -- a function of the server takes a hundred arguments
        when 'filter' then 1000  -- columns and operators, and arrays that an array is compared with
        else 1600 end;  -- columns of a table
end $$;

-- Refuses a text that is longer than its parameter may be, without the text. A text of 64 characters passes without a
-- look at its bound, as no bound is less.
create or replace function pgembedd_internal._check_texts(names text[], texts text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    for i in 1 .. cardinality(names) loop
        continue when texts[i] is null or octet_length(texts[i]) <= 64 or length(texts[i]) <= _most(names[i]);
        raise exception using
            message = format('%s has %s characters, and at most %s are taken.', names[i], length(texts[i]),
            _most(names[i])),
            hint = 'Give a shorter text.', errcode = 'program_limit_exceeded';
    end loop;
end $$;

create or replace function pgembedd_internal._check_list(
    name text, members integer, at_most integer default null
) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if members > coalesce(at_most, _most_members(name)) then
        raise exception using
            message = format('%s has %s, and at most %s are taken.', name, _counted(members, 'member'),
            coalesce(at_most, _most_members(name))),
            hint = 'Give fewer at a time.', errcode = 'program_limit_exceeded';
    end if;
end $$;

create or replace function pgembedd_internal._check_json(name text, value jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pg_column_size(value) > _most(name) then
        raise exception using
            message = format('%s has %s bytes, and at most %s are taken.', name, pg_column_size(value), _most(name)),
            hint = 'Give a smaller one.', errcode = 'program_limit_exceeded';
    end if;
end $$;

create or replace function pgembedd_internal._check_members(name text, members text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text;
begin
    if cardinality(members) > 0 then
        ignored := _check_list(name, cardinality(members));
        ignored := _check_texts(array_fill(name, array[cardinality(members)]), members);
    end if;
end $$;
