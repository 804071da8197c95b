-- A formatting in pieces: text as it stands, columns ($name or ${name}), the chunk ($chunk), and the headings above it
-- ($headings). $$ is a dollar sign.
create or replace function pgembedd_internal._formatting_pieces(
    formatting text
) returns table (nth bigint, literal text, name text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select m.nth, case when m.parts[1] is not null then m.parts[1] when m.parts[2] is not null then '$' end,
           coalesce(m.parts[3], m.parts[4])
    from regexp_matches(formatting,
        '([^$]+|[$](?![$A-Za-z_{])|[$](?=[{])(?![{][^{}]+[}]))|([$][$])|[$]([A-Za-z_][A-Za-z0-9_]*)|[$][{]([^{}]+)[}]',
        'g')
        with ordinality as m(parts, nth)
$$;

create or replace function pgembedd_internal._formatting_columns(made pgembedd_internal.pipeline) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select array_agg(distinct p.name) from _formatting_pieces(made.formatting) p
    where p.name <> 'chunk' and (p.name <> 'headings' or _type_of_column(made.source, 'headings') is not null)
$$;

-- The part of a formatting before the chunk, or after it, as an SQL expression of the source row `alias`. A worker puts
-- the headings above a chunk where two record separators are; between these are the headings above the content, where
-- the source has a column `headings` of type text[], as a table of pages has.
create or replace function pgembedd_internal._around(made pgembedd_internal.pipeline, alias text, after boolean)
returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with pieces as (
        select p.*, (select min(c.nth) from _formatting_pieces(made.formatting) c where c.name = 'chunk') as chunk
        from _formatting_pieces(made.formatting) p)
    select coalesce('pg_catalog.concat(' || string_agg(
        case when p.name is null then quote_literal(p.literal)
             when p.name = 'headings' and t.headings is null then 'pg_catalog.repeat(pg_catalog.chr(30), 2)'
             when p.name = 'headings' and t.headings = 'text[]' then format(
                 'pg_catalog.chr(30), pg_catalog.array_to_string(%s.headings, pg_catalog.chr(31)), pg_catalog.chr(30)',
                 alias)
             else format('%s.%I', alias, p.name) end,
        ', ' order by p.nth) || ')',
        '''''::pg_catalog.text')
    from pieces p, _type_of_column(made.source, 'headings') as t(headings)
    where case when after then p.nth > p.chunk else p.nth < p.chunk end
$$;
