-- Where a hit is, if the source of its pipeline is the table of another one that parses files: the file, by the key of
-- its row, the page, and the headings that the hit stands under.

-- An expression over the hit `i`, its row `s` and its chunk `v`, of the columns that the caller may read.
create or replace function pgembedd_internal._search_place_expression(
    target pgembedd_internal._search_target
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if target.pages is not true then return 'null::pg_catalog.jsonb'; end if;
    return format('pgembedd_internal._search_place(i.key, %s, %s)',
        case when target.chunked then 'v.chunk' else 'null' end,
        (select string_agg(case when c.name is null then 'null' else format('s.%I::pg_catalog.%s', n.name, n.type) end,
                           ', ' order by n.nth)
         from unnest('{headings,text,metadata}'::text[], '{text[],text,jsonb}'::text[]) with ordinality
              as n(name, type, nth)
         left join _search_columns(target.source) c on c.name = n.name));
end $$;

-- The same of one hit; `text` is for people: the file, the page and the headings. A file whose key is no text is named
-- by its title, if it states one.
create or replace function pgembedd_internal._search_place(
    key jsonb, chunk text, headings text[], content text, metadata jsonb
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    keys constant jsonb := key - 'page';
    file constant jsonb := case when keys - (select min(k) from jsonb_object_keys(keys) k) = '{}'
                                then (select e.value from jsonb_each(keys) e) else keys end;
    path constant text[] := _search_headings(headings, content, chunk);
    written constant boolean := getdatabaseencoding() = 'UTF8';
    name text := case jsonb_typeof(file) when 'string' then file #>> '{}' else metadata ->> 'title' end;
    word text := case metadata ->> 'kind' when 'pdf' then 'page' when 'pptx' then 'slide' when 'odp' then 'slide'
                      else 'section' end;
begin
    name := coalesce(name, (select string_agg(e.value, ', ' order by e.key) from jsonb_each_text(keys) e));
    return jsonb_build_object('file', file, 'page', key -> 'page', 'headings', path, 'text',
        concat_ws(', ', _beginning(name, 200), format('%s %s', word, key ->> 'page'), case when path <> '{}'
            then case when written then chr(167) || ' ' else '' end
                 || array_to_string(path, case when written then ' ' || chr(8250) || ' ' else ' > ' end) end));
end $$;

-- The headings above a chunk of a page, and those that it begins with: of a page without chunks its first ones. A
-- heading of n # is the nth of its path. Each is cut to 200 characters.
create or replace function pgembedd_internal._search_headings(
    headings text[], content text, chunk text
) returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    above text := left(content, greatest(strpos(content, chunk) - 1, 0));
    heading text[];
begin
    headings := coalesce(headings, '{}');
    -- From a fence to the next of its kind: {1,1}? says the shortest, as an alternative by itself is for the longest. A
    -- back reference would take minutes for a page of fences.
    above := regexp_replace(regexp_replace(above, '(?:^```.*?^```|^~~~.*?^~~~){1,1}?', '', 'gw'),
                            '^(```|~~~).*', '', 'w')
        || coalesce(substring(coalesce(chunk, content) from E'^(?:#{1,6}[ \\t][^\\n]*\\n*)+'), '');
    for heading in select regexp_matches(above, E'^(#{1,6})[ \\t]+(.*?)[ \\t]*$', 'gn') loop
        headings := headings[:length(heading[1]) - 1] || heading[2];
    end loop;
    return array(select _beginning(h.title, 200) from unnest(headings[:10]) with ordinality as h(title, nth)
                 order by h.nth);
end $$;
