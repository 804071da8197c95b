-- The part of a text that holds most of the marked words, cut at words, or all of a text that is short enough. Without
-- such words it is the beginning.
create or replace function pgembedd._search_snippet(
    content text, length integer, marked tsquery, marks text[], config oid
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    on_mark constant text := chr(1);
    off_mark constant text := chr(2);
    headline text;
    plain text;
    starts integer[];
    first integer;
    began integer;
    skipped integer;
begin
    if marked is null or config is null or numnode(marked) = 0 then return _beginning(content, length); end if;
    -- What is marked is found in a bounded part: to parse a text takes as long as it is.
    headline := _search_headline(left(content, 20000), marked, array[on_mark, off_mark], config);
    if pg_catalog.length(content) <= length and strpos(headline, on_mark) > 0 then
        return replace(replace(headline, on_mark, marks[1]), off_mark, marks[2]);
    end if;
    plain := translate(headline, on_mark || off_mark, '');
    starts := array(  -- in the plain text
        select sum(pg_catalog.length(p.part)) over (order by p.nth) + 1
        from unnest(string_to_array(replace(headline, off_mark, ''), on_mark)) with ordinality as p(part, nth));
    starts := starts[:cardinality(starts) - 1];
    if starts = '{}' then return _beginning(content, length); end if;
    select s into first from unnest(starts[:100]) s
    order by (select count(*) from unnest(starts) o where o between s and s + length * 2 / 3) desc, s limit 1;
    began := 1;
    if first > length / 2 then
        began := first - length / 6;
        -- From the next word on, or in the middle of the one that is marked.
        skipped := pg_catalog.length(substring(substr(plain, began - 1, length) from E'^\\S*\\s+'));
        if began - 1 + skipped <= first then began := began - 1 + skipped; end if;
    end if;
    return case when began > 1 then _search_ellipsis() || ' ' else '' end
        || _search_headline(_beginning(substr(plain, began), length), marked, marks, config);
end $$;

-- A text with each marked word between the two marks.
create or replace function pgembedd._search_headline(content text, marked tsquery, marks text[], config oid)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set client_min_messages = 'warning'  -- a word that is too long to be marked is no news to the caller
as $$
declare
    on_mark constant text := chr(1);
    off_mark constant text := chr(2);
begin
    return replace(replace(ts_headline(
        config::regconfig, translate(content, on_mark || off_mark, '  '), marked,
        format('HighlightAll=true, StartSel=%s, StopSel=%s', on_mark, off_mark)
    ), on_mark, marks[1]), off_mark, marks[2]);
end $$;
