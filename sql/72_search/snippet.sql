-- The part of a text that holds most of the marked words, cut at words, or all of a text that is short enough. Without
-- such words it is the beginning. Of as few expressions as can be, as each is made ready in each search.
create or replace function pgembedd_internal._search_snippet(
    content text, length integer, marked tsquery, marks text[], config oid
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    headline constant text := case
        when octet_length(content) < 2047 then ts_headline(  -- as _search_headline(): no word of it is too long
            config::regconfig, translate(content, E'\x01\x02', '  '), marked,
            E'HighlightAll=true, StartSel=\x01, StopSel=\x02')
        else _search_headline(left(content, _most('read')), marked, config) end;
begin
    return case
        when coalesce(strpos(headline, E'\x01') = 0, true)
        then case when pg_catalog.length(content) <= length then content else _beginning(content, length) end
        when pg_catalog.length(content) > length
        then _search_marked(_search_passage(headline, length, marked, config), marks)
        when pg_catalog.length(headline) > 3 * _most('marked') then _search_marked(headline, marks)
        else replace(replace(headline, E'\x01', marks[1]), E'\x02', marks[2]) end;
end $$;

-- The part of a longer text, with each marked word as in its headline.
create or replace function pgembedd_internal._search_passage(
    headline text, length integer, marked tsquery, config oid
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    plain constant text := translate(headline, E'\x01\x02', '');
    parts constant text[] := string_to_array(replace(headline, E'\x02', ''), E'\x01');
    first integer;
    began integer := 1;
    skipped integer;
begin
    select w.start into first from (
        select u.start, u.nth,
               count(*) over (order by u.start range between current row and length * 2 / 3 following) as held
        from (select p.nth, sum(pg_catalog.length(p.part)) over (order by p.nth) + 1 as start  -- in the plain text
              from unnest(parts[:cardinality(parts) - 1]) with ordinality as p(part, nth)) u) w
    where w.nth <= 100 order by w.held desc, w.start limit 1;
    if first > length / 2 then
        began := first - length / 6;
        -- From the next word on, or in the middle of the one that is marked.
        skipped := pg_catalog.length(substring(substr(plain, began - 1, length) from E'^\\S*\\s+'));
        if began - 1 + skipped <= first then began := began - 1 + skipped; end if;
    end if;
    return case when began > 1 then _search_ellipsis() || ' ' else '' end
        || _search_headline(_beginning(substr(plain, began), length), marked, config);
end $$;

-- A text with each marked word between two characters that no text has.
create or replace function pgembedd_internal._search_headline(content text, marked tsquery, config oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set client_min_messages = 'warning'  -- a word that is too long to be marked is no news to the caller
as $$
begin
    return ts_headline(config::regconfig, translate(content, E'\x01\x02', '  '), marked,
                       E'HighlightAll=true, StartSel=\x01, StopSel=\x02');
end $$;

-- The same with the caller's marks; in a text that is full of them, around the first hundred words.
create or replace function pgembedd_internal._search_marked(headline text, marks text[]) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    parts text[] := string_to_array(headline, chr(1));
    most constant integer := _most('marked');
begin
    if cardinality(parts) > most + 1 then
        parts := parts[:most] || (parts[most + 1] || translate(array_to_string(parts[most + 2:], ''), chr(2), ''));
    end if;
    return replace(array_to_string(parts, marks[1]), chr(2), marks[2]);
end $$;

-- The beginning of a text, cut at a word.
create or replace function pgembedd_internal._beginning(content text, length integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    beginning constant text := left(content, length + 1);
    since_gap integer;
begin
    if pg_catalog.length(beginning) <= length then return content; end if;
    since_gap := strpos(reverse(translate(beginning, E'\t\n\r', '   ')), ' ');
    return rtrim(left(beginning, length + 1 - greatest(since_gap, 1)), E' \t\n\r')
        || ' ' || pgembedd_internal._search_ellipsis();
end $$;

-- Three dots: one character, where the encoding of the database has it.
create or replace function pgembedd_internal._search_ellipsis() returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if getdatabaseencoding() = 'UTF8' then return chr(8230); end if;
    return '...';
end $$;
