-- A row as JSON. What a hit shows of it is bounded: of a larger row the largest values are cut, a text to its beginning
-- and any other to null, and `pgembedd_cut` names their columns. A value that is too large alone is not even fetched.

-- An expression over the row `s`, with types from outside Postgres by their text; whole where no bytes are given.
create or replace function pgembedd._search_row_expression(source oid, bytes integer) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    -- As text in JSON, these have at most six times as many bytes as in memory: control characters.
    plain constant oid[] := '{bool,int2,int4,int8,oid,float4,float8,text,varchar,bpchar,name,uuid,date,time,timetz,'
                            'timestamp,timestamptz,interval,inet,cidr,macaddr}'::regtype[];
    sliced constant oid[] := '{text,varchar}'::regtype[];
    shown record;
begin
    select string_agg(case when bytes is null or c.width > 0 then c.value || c.named
                           when c.base = any (sliced) then format(
                               'case when pg_catalog.octet_length(s.%1$I) operator(pg_catalog.<=) %2$s then s.%1$I '
                               'else pg_catalog."left"(s.%1$I::pg_catalog.text, %2$s) end as %1$I', c.name, bytes)
                           else format('case when pg_catalog.pg_column_size(s.%1$I) operator(pg_catalog.<=) %2$s '
                                       'then %3$s end as %1$I', c.name, bytes, c.value) end, ', ' order by c.number)
               as columns,
           string_agg(format('case when pg_catalog.pg_column_size(s.%1$I) operator(pg_catalog.>) %2$s then %1$L end',
                             c.name, bytes), ', ' order by c.number)
               filter (where c.width < 0 and c.base <> all (sliced)) as lost,
           string_agg(format('pg_catalog.pg_column_size(s.%I) operator(pg_catalog.>) %s', c.name, bytes), ' or ')
               filter (where c.width < 0 and c.base <> all (sliced)) as too_large,
           bool_and(c.base = any (plain)) as plain
    into shown
    from (select n.*, b.typlen as width, case when n.base < 16384 then '' else format(' as %I', n.name) end as named,
                 case when n.base < 16384 then format('s.%I', n.name)
                      else format('pg_catalog.format(''%%s'', s.%I)', n.name) end as value
          from _search_columns(source) n join pg_type b on b.oid = n.base) c;
    if bytes is null then return format('(select pg_catalog.to_jsonb(r.*) from (select %s) r)', shown.columns); end if;
    return format(
        '(select case when %1$s or %3$s and pg_catalog.octet_length(r.shown::pg_catalog.text) '
        'operator(pg_catalog.>) %2$s '
        'then pgembedd._search_cut(r.shown, pg_catalog.array_remove(array[%4$s]::pg_catalog.text[], null), %2$s) '
        'else r.shown end from (select pg_catalog.to_jsonb(r.*) as shown from (select %5$s) r offset 0) r)',
        coalesce(shown.too_large, 'false'), bytes,
        case when shown.plain then format('pg_catalog.pg_column_size(r.shown) operator(pg_catalog.>) %s', bytes / 8)
             else 'true' end, shown.lost, shown.columns);
end $$;

-- The row with its largest values cut, as many as it takes; those of `lost` are null already. An eighth of the bytes is
-- for the beginnings of texts.
create or replace function pgembedd._search_cut("row" jsonb, lost text[], bytes integer) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    cut constant text[] := lost || array(
        select t.name from (
            select m.name, sum(octet_length(m.name) + m.bytes) over (order by m.bytes, m.name) as bytes
            from (select e.key as name, octet_length(e.value::text) as bytes from jsonb_each("row") e) m) t
        where t.bytes > _search_cut.bytes / 8 * 7);
    beginning constant integer := bytes / 8 / 6 / greatest(cardinality(cut), 1);
begin
    return (select jsonb_object_agg(e.key, case
                when e.key <> all (cut) then e.value
                when jsonb_typeof(e.value) = 'string' and beginning > 20
                then to_jsonb(left(e.value #>> '{}', beginning) || _search_ellipsis()) end)
            from jsonb_each("row") e)
        || jsonb_build_object('pgembedd_cut', (select jsonb_agg(c order by c) from unnest(cut) c));
end $$;
