-- The part of a text that holds most of the marked words, cut at words. Without such words it is the beginning.
create or replace function pgembedd._search_snippet(
    content text, length integer, marked tsquery, marks text[], config oid
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    on_mark constant text := chr(1);
    off_mark constant text := chr(2);
    -- What is marked is found in a bounded part: to parse a text takes as long as it is.
    headline text;
    starts integer[];
    first integer;
    part text;
begin
    if marked is null or config is null or numnode(marked) = 0 then return _beginning(content, length); end if;
    headline := ts_headline(config::regconfig, translate(left(content, 20000), on_mark || off_mark, '  '), marked,
        format('HighlightAll=true, StartSel=%s, StopSel=%s', on_mark, off_mark));
    starts := array(  -- in the text without marks
        select sum(pg_catalog.length(p.part)) over (order by p.nth) + 1
        from unnest(regexp_split_to_array(replace(headline, off_mark, ''), on_mark)) with ordinality as p(part, nth));
    starts := starts[:cardinality(starts) - 1];
    if starts = '{}' then return _beginning(content, length); end if;
    select s into first from unnest(starts[:100]) s
    order by (select count(*) from unnest(starts) o where o between s and s + length * 2 / 3) desc, s limit 1;
    part := _search_cut(headline, case when first <= length / 2 then 1 else first - length / 6 end, length);
    return replace(replace(part, on_mark, marks[1]), off_mark, marks[2]);
end $$;

-- So many characters of a text from that one on, cut at words; characters 1 and 2, before and after a word, do not
-- count.
create or replace function pgembedd._search_cut(headline text, first integer, length integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    token text;
    words text;
    position integer := 1;
    began integer;
    cut text := '';
    ending text := '';
begin
    for token in select m[1] from regexp_matches(headline, '(\s+|\S+)', 'g') m loop
        words := translate(token, chr(1) || chr(2), '');
        if position >= first and (cut <> '' or token ~ '^\S') then
            began := coalesce(began, position);
            if position + pg_catalog.length(words) - began > length then
                ending := ' …';
                exit;
            end if;
            cut := cut || token;
        end if;
        position := position + pg_catalog.length(words);
    end loop;
    if cut = '' then cut := left(words, length); end if;
    return case when began > 1 then '… ' else '' end || rtrim(cut, E' \t\n\r') || ending;
end $$;
