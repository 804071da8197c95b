-- What may enter, at most: texts in characters, lists in members, JSON in bytes as it is kept. A parameter is bounded
-- by its name, alike in every function; worker/pgembedd/limits.py has the same for HTTP and MCP, and
-- docs/reference/limits.md lists them. A test compares the three.

create or replace function pgembedd._most(parameter text) returns integer
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case parameter
        when 'query' then 100000 when 'content' then 1000000 when 'question' then 8000
        when 'marks' then 64 when 'marked' then 100  -- words that a snippet marks
        when 'pipelines' then 20 when 'keys' then 1000 when 'ids' then 100000
        when 'key' then 100000 when 'like_key' then 100000 when 'filter' then 8000000 when 'arrays' then 1000
        when 'row' then 32768  -- bytes that a hit shows of its row
        when 'read' then 20000  -- characters of a text that a snippet is looked for in
        when 'formatting' then 10000 when 'columns' then 1600
        when 'url' then 2000 when 'url_template' then 2000 when 'token' then 2000 when 'options' then 2000
        when 'subject' then 1000 when 'password' then 1000 when 'timeout' then 64
        else 200 end;
end $$;

-- Refuses a text that is longer than its parameter may be, without the text. A text of 64 characters passes without a
-- look at its bound, as no bound is less.
create or replace function pgembedd._check_texts(names text[], texts text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    for i in 1 .. cardinality(names) loop
        continue when texts[i] is null or octet_length(texts[i]) <= 64 or length(texts[i]) <= _most(names[i]);
        perform _refuse(format('%s has %s characters, and at most %s are taken.', names[i], length(texts[i]),
            _most(names[i])), 'Give a shorter text.');
    end loop;
end $$;

create or replace function pgembedd._check_list(name text, members integer) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if members > _most(name) then
        perform _refuse(format('%s has %s, and at most %s are taken.', name, _counted(members, 'member'), _most(name)),
            'Give fewer at a time.');
    end if;
end $$;

create or replace function pgembedd._check_json(name text, value jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if pg_column_size(value) > _most(name) then
        perform _refuse(format('%s has %s bytes, and at most %s are taken.', name, pg_column_size(value), _most(name)),
            'Give a smaller one.');
    end if;
end $$;
