-- Fills in a template: {name} becomes the variable of that name, as it is; a variable that is null leaves nothing. The
-- template is scanned once, so a value that looks like a placeholder (a column may be called {source}) stays as it is.
create or replace function pgembedd_internal._render(template text, variables jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    placeholder constant text := E'\\{([a-z_]+)\\}';
    names text[] := array(select m[1] from regexp_matches(template, placeholder, 'g') as m);
    unknown text := (select n from unnest(names) as n where not variables ? n limit 1);
begin
    if unknown is not null then
        raise exception 'The template has no value for {%}.', unknown;
    end if;
    return (
        select string_agg(concat(p.literal, variables ->> p.name), '' order by p.nth)
        from unnest(regexp_split_to_array(template, placeholder), names) with ordinality as p(literal, name, nth));
end $$;
