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
        raise exception using message = format('%s has no column "%s" that you may filter by.', source::regclass, name),
            hint = coalesce('There are: '
                     || (select string_agg(c.name, ', ' order by c.number) from _search_columns(source) c) || '.',
                     'There is none that you may read.'), errcode = '22023';
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
        'base', found_one.base, 'type_name', format_type(found_one.type, null), 'text', found_one.category = 'S',
        'element', case when found_one.category = 'A' then _qualified_type(found_one.element) end)
        || _search_comparison(found_one.name, found_one.base);
end $$;

-- The columns that the caller may read, vectors excepted; `base` is the type, or what a domain is made of. In plpgsql,
-- which keeps the plan.
create or replace function pgembedd._search_columns(source oid)
returns table (number smallint, name text, type oid, base oid, category "char", element oid, width smallint)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select a.attnum, a.attname::text, t.oid, b.oid, b.typcategory, b.typelem, a.attlen
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        join pg_type b on b.oid = case when t.typtype = 'd' then _base_type(t.oid) else t.oid end
        where a.attrelid = source and a.attnum > 0 and not a.attisdropped
          and has_column_privilege(source, a.attnum, 'select')
          and b.typname not in ('vector', 'halfvec', 'sparsevec', '_vector', '_halfvec', '_sparsevec');
end $$;

create or replace function pgembedd._search_unordered_array(type oid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    element constant oid := (select t.typelem from pg_type t where t.oid = type and t.typcategory = 'A');
begin
    return element is not null and (_search_comparison('', element) -> 'operators' = 'null'
                                    or (select e.typtype = 'd' from pg_type e where e.oid = element));
end $$;

-- A column as its btree operator class compares it: the expression, the type of literals, the one that they are written
-- in, and the operators from < to >. The class is that of the type, of all types of its kind, or of one that it can be
-- taken as without a change. An array has none whose elements have none, or a domain's.
create or replace function pgembedd._search_comparison(name text, base oid) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    kind constant oid := (select case t.typtype when 'e' then 'anyenum'::regtype when 'r' then 'anyrange'::regtype
                                     when 'm' then 'anymultirange'::regtype when 'c' then 'record'::regtype
                                     else case when t.typcategory = 'A' then 'anyarray'::regtype end end
                          from pg_type t where t.oid = base);
    usable constant oid[] := array[base, kind] || array(
        select p.casttarget from pg_cast p join pg_type t on t.oid = p.casttarget
        where p.castsource = base and p.castmethod = 'b' and p.castcontext = 'i' order by t.typispreferred desc, t.oid);
    family oid;
    class_type oid;
    compared text;
begin
    select c.opcfamily, c.opcintype into family, class_type
    from pg_opclass c join pg_am m on m.oid = c.opcmethod
    where m.amname = 'btree' and c.opcdefault and c.opcintype = any (usable) and not _search_unordered_array(base)
    order by array_position(usable, c.opcintype) limit 1;
    compared := _qualified_type(case when class_type = kind then base else coalesce(class_type, base) end);
    return jsonb_build_object('type', compared, 'written', _qualified_type(base),
        'expression', format('s.%I::%s', name, compared), 'operators', (
        select jsonb_object_agg(p.amopstrategy, format('operator(%I.%s)', n.nspname, o.oprname))
        from pg_amop p join pg_operator o on o.oid = p.amopopr join pg_namespace n on n.oid = o.oprnamespace
        where p.amopfamily = family and p.amoplefttype = class_type and p.amoprighttype = class_type));
end $$;
