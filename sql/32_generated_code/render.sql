-- Fills in a template: {name} becomes the variable of that name, as it is; a variable that is null leaves nothing. The
-- template is scanned once, so a value that looks like a placeholder (a column may be called {source}) stays as it is.
create or replace function pgembedd_internal._render(template text, variables jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    parts constant text[] := string_to_array(template, '{');
    rendered text := parts[1];
    name text;
begin
    for i in 2 .. coalesce(cardinality(parts), 0) loop
        name := split_part(parts[i], '}', 1);
        if variables ? name then
            rendered := concat(rendered, variables ->> name, substr(parts[i], length(name) + 2));
        elsif parts[i] ~ E'^[a-z_]+\\}' then
            raise exception 'The template has no value for {%}.', name;
        else
            rendered := concat(rendered, '{', parts[i]);
        end if;
    end loop;
    return rendered;
end $$;
