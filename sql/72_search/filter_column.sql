-- What a filter compares: {"name", "expression", "type", "kind": "plain", "array" or "json", "operators" by btree
-- strategy}, and for a path into JSON the column's expression and the path. Domains are taken as what they are made of.
create or replace function pgembedd._search_operand(source oid, name text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    path text[] := string_to_array(name, '.');
    found_one record;
begin
    select c.* into found_one from _search_columns(source) c
    where c.name = $2 or c.name = path[1] and cardinality(path) > 1 and c.base in ('json'::regtype, 'jsonb'::regtype)
    order by c.name = $2 desc limit 1;
    if found_one.name is null then
        perform _refuse(format('%s has no column "%s" that you may filter by.', source::regclass, name),
            coalesce('There are: '
                     || (select string_agg(c.name, ', ' order by c.number) from _search_columns(source) c) || '.',
                     'There is none that you may read.'));
    elsif found_one.base in ('json'::regtype, 'jsonb'::regtype) then
        path := case when found_one.name = name then '{}' else path[2:] end;
        return jsonb_build_object('name', name, 'kind', 'json', 'type_name', 'jsonb', 'path', path,
            'column', format('s.%I::pg_catalog.jsonb', found_one.name),
            'contained', path <> '{}' and not exists (select from unnest(path) as p where p ~ '^-?[0-9]+$'),
            'expression', case when path = '{}' then format('s.%I::pg_catalog.jsonb', found_one.name)
                else format('(s.%I::pg_catalog.jsonb operator(pg_catalog.#>) %L::pg_catalog.text[])',
                            found_one.name, path) end);
    end if;
    return jsonb_build_object('name', name, 'kind', case found_one.category when 'A' then 'array' else 'plain' end,
        'type_name', format_type(found_one.type, null), 'text', found_one.category = 'S',
        'element', case when found_one.category = 'A' then _qualified_type(found_one.element) end)
        || _search_comparison(found_one.name, found_one.base);
end $$;

-- The columns that the caller may read, vectors excepted; `base` is the type, or what a domain is made of.
create or replace function pgembedd._search_columns(source oid)
returns table (number smallint, name text, type oid, base oid, category "char", element oid)
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select a.attnum, a.attname::text, t.oid, b.oid, b.typcategory, b.typelem
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    join pg_type b on b.oid = case when t.typtype = 'd' then _base_type(t.oid) else t.oid end
    where a.attrelid = source and a.attnum > 0 and not a.attisdropped
      and has_column_privilege(source, a.attnum, 'select')
      and b.typname not in ('vector', 'halfvec', 'sparsevec', '_vector', '_halfvec', '_sparsevec')
$$;

-- A column as its btree operator class compares it: the expression, the type of literals and the operators from < to >.
create or replace function pgembedd._search_comparison(name text, base oid) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    with chosen as (
        select c.opcfamily as family, c.opcintype as type, i.typtype = 'p' as polymorphic
        from pg_opclass c join pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
        join pg_type i on i.oid = c.opcintype join pg_type t on t.oid = base
        where c.opcdefault and (c.opcintype = base
            or c.opcintype::regtype::text = case
                when t.typtype = 'e' then 'anyenum' when t.typtype = 'r' then 'anyrange'
                when t.typtype = 'm' then 'anymultirange' when t.typtype = 'c' then 'record'
                when t.typcategory = 'A' then 'anyarray' end
            or exists (select from pg_cast p where p.castsource = base and p.casttarget = c.opcintype
                       and p.castmethod = 'b' and p.castcontext = 'i'))
        order by c.opcintype = base desc, i.typtype = 'p' desc, i.typispreferred desc, c.opcintype limit 1)
    select jsonb_build_object('type', u.used, 'expression', format('s.%I::%s', name, u.used), 'operators', (
        select jsonb_object_agg(p.amopstrategy, format('operator(%I.%s)', n.nspname, o.oprname))
        from chosen c join pg_amop p on p.amopfamily = c.family and p.amoplefttype = c.type and p.amoprighttype = c.type
        join pg_operator o on o.oid = p.amopopr join pg_namespace n on n.oid = o.oprnamespace))
    from (select _qualified_type(coalesce((select c.type from chosen c where not c.polymorphic), base)) as used) u
$$;
