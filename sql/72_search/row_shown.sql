-- What is shown of a row. What a hit shows is bounded: of a larger row the largest values are cut, a text to its
-- beginning and any other to null, and `pgembedd_cut` names their columns. A value that is too large alone is not even
-- fetched. The snippet is made of the chunk, or of the text columns that the caller may read.

-- Expressions over the row `s` and the chunk `v`. The row has the columns that the caller may read, vectors excepted,
-- types from outside Postgres by their text, as an object; whole where no bytes are given.
create or replace function pgembedd_internal._search_shown(
    target pgembedd_internal._search_target, bytes integer,
    out row_expression text, out snippet text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if target.row_expression is null or bytes is distinct from _most('row')
       or not has_table_privilege(target.source, 'select') then
        select r.row_expression, r.content into target.row_expression, target.content
        from _search_row_parts(target, bytes) r;
    end if;
    row_expression := target.row_expression;
    snippet := case when target.content is null then 'null::pg_catalog.text' else format(
        'case when $5 operator(pg_catalog.=) 0 then null when $3 is null then pgembedd_internal._beginning(%1$s, $5) '
        'else pgembedd_internal._search_snippet(%1$s, $5, $3, $4, $6) end', target.content) end;
end $$;

-- The row, and the text for its snippet. A small row is told without a call, and without writing it out where it is
-- `plain`: without numbers of any length it has, for control characters, at most six times as many bytes as text as it
-- has in memory. No function is called with a value of each column, as it takes a hundred arguments.
create or replace function pgembedd_internal._search_row_parts(
    target pgembedd_internal._search_target, bytes integer, out row_expression text, out content text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    -- As much of a text as a snippet is looked for in: to parse it takes as long as it is.
    read constant text := 'pg_catalog."left"(%s.%I::pg_catalog.text, ' || _most('read') || ')';
    shown record;
begin
    select string_agg(format(
               case when bytes is null or c.width > 0 then '%1$s as %2$I'
                    when c.base in (25, 1043) then  -- text and varchar
                        'case when pg_catalog.octet_length(s.%2$I) operator(pg_catalog.>) %3$s '
                        'then pg_catalog."left"(s.%2$I::pg_catalog.text, %3$s) else %1$s end as %2$I'
                    else 'case when pg_catalog.pg_column_size(s.%2$I) operator(pg_catalog.<=) %3$s '
                         'then %1$s end as %2$I' end,
               format(case when c.base < 16384 then 's.%I' else 'pg_catalog.format(''%%s'', s.%I)' end, c.name),
               c.name, bytes), ', ' order by c.number) as columns,
           string_agg(format('case when pg_catalog.pg_column_size(s.%I) operator(pg_catalog.>) %s then %1$L end',
                             c.name, bytes), ', ' order by c.number)
               filter (where c.width < 0 and c.base not in (25, 1043)) as lost,
           bool_and(c.category in ('B', 'D', 'E', 'I', 'S', 'T') or c.category = 'N' and c.base not in (701, 1700)
                    or c.base = 2950) as plain,
           -- The texts; where there are none, what else the vector is of, as JSON.
           coalesce(string_agg(c.part, ', ' order by c.place) filter (where c.category = 'S'),
                    string_agg(c.part, ', ' order by c.place) filter (where c.base < 16384 or c.category = 'E'))
               as content
    into shown
    from (select c.*, array_position(target.text_columns, c.name) as place,
                 case when c.name = any (target.text_columns) then format(read, 's', c.name) end as part
          from _search_columns(target.source) c) c;
    row_expression := format(
        case when bytes is null then '(select pg_catalog.to_jsonb(r.*) from (select %s) r)'
             else '(select case when %2$s then j.row else pgembedd_internal._search_cut(j.row, pg_catalog.array_remove('
                  'array[%3$s]::pg_catalog.text[], null), %4$s) end '
                  'from (select pg_catalog.to_jsonb(r.*) as row from (select %1$s) r offset 0) j)' end,
        shown.columns, concat_ws(' and ', case when shown.plain
            then format('pg_catalog.pg_column_size(j.row) operator(pg_catalog.<=) %s', bytes / 8)
            else format('pg_catalog.octet_length(j.row::pg_catalog.text) operator(pg_catalog.<=) %s', bytes) end,
            'coalesce(' || shown.lost || ') is null'), shown.lost, bytes);
    content := case when target.chunked then format(read, 'v', 'chunk')
                    when shown.content is not null
                    then format(E'pg_catalog.concat_ws(E''\\n\\n'', variadic array[%s])', shown.content) end;
end $$;

-- The row; of one that is too large the largest values are cut, as many as it takes; those of `lost` are null already.
-- An eighth of the bytes, or more, is for the beginnings of texts.
create or replace function pgembedd_internal._search_cut("row" jsonb, lost text[], bytes integer) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    cut text[];
    kept bigint;
    beginning integer;
begin
    if lost = '{}' and octet_length("row"::text) <= bytes then return "row"; end if;
    select coalesce(array_agg(t.name) filter (where not t.fits), '{}') || lost,
           coalesce(max(t.bytes) filter (where t.fits), 0)
    into cut, kept
    from (select s.*, s.bytes <= _search_cut.bytes / 8 * 7 as fits
          from (select m.name, sum(octet_length(m.name) + m.bytes) over (order by m.bytes, m.name) as bytes
                from (select e.key as name, octet_length(e.value::text) as bytes from jsonb_each("row") e) m) s) t;
    beginning := (bytes - kept) / 6 / cardinality(cut);
    return (select jsonb_object_agg(e.key, case
                when e.key <> all (cut) then e.value
                when jsonb_typeof(e.value) = 'string' and beginning > 20
                then to_jsonb(left(e.value #>> '{}', beginning) || _search_ellipsis()) end)
            from jsonb_each("row") e)
        || jsonb_build_object('pgembedd_cut', (select jsonb_agg(c order by c) from unnest(cut) c));
end $$;
