create or replace view pgembedd_internal._search_operand as
    select null::text as name, null::text as kind,  -- plain, array or json
           null::text as type_name, null::oid as base,  -- the type, or what a domain is made of
           null::boolean as is_text,
           -- The operand, the type of its literals, the one that they are written in, and the operators from < to >.
           null::text as expression, null::text as type, null::text as written, null::text[] as operators,
           -- JSON: the column, the path into it, and whether containment says the same.
           null::text as json_column, null::text[] as path, null::boolean as contained
    where false;
comment on view pgembedd_internal._search_operand is
    'A column, or a path into one that holds JSON, as a filter compares it.';

create or replace function pgembedd_internal._search_operand(
    source oid, name text
) returns pgembedd_internal._search_operand
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    path constant text[] := string_to_array(name, '.');
    found_one record;
    operand pgembedd_internal._search_operand;
begin
    operand := _search_plain_operand(source, name);
    if operand.base is not null then return operand; end if;
    select c.* into found_one from _search_columns(source, array[name, path[1]]) c
    where c.name = $2 or c.name = path[1] and cardinality(path) > 1 and c.base in ('json'::regtype, 'jsonb'::regtype)
    order by c.name = $2 desc limit 1;
    if found_one.name is null then
        raise exception using message = format('%s has no column "%s" that you may filter by.', source::regclass, name),
            hint = coalesce('There are: '
                     || (select string_agg(c.name, ', ' order by c.number) from _search_columns(source) c) || '.',
                     'There is none that you may read.'), errcode = 'undefined_column';
    end if;
    operand.base := found_one.base;
    operand.type_name := format_type(found_one.type, null);
    operand.is_text := found_one.category = 'S';
    operand.kind := case found_one.category when 'A' then 'array' else 'plain' end;
    if found_one.base not in ('json'::regtype, 'jsonb'::regtype) then
        return _compared_by_btree(operand, found_one.name);
    end if;
    operand.kind := 'json';
    operand.type_name := 'jsonb';
    operand.path := case when found_one.name = name then '{}' else path[2:] end;
    operand.contained := operand.path <> '{}' and not exists (
        select from unnest(operand.path) as p where p ~ '^-?[0-9]+$');  -- which may lead into an array
    operand.json_column := format('s.%I::pg_catalog.jsonb', found_one.name);
    operand.expression := case when operand.path = '{}' then operand.json_column
        else format('(%s operator(pg_catalog.#>) %L::pg_catalog.text[])', operand.json_column, operand.path) end;
    return operand;
end $$;

-- Of a column whose type is Postgres's own, as most are, what _compared_by_btree() finds for it; `base` null of others.
create or replace function pgembedd_internal._search_plain_operand(
    source oid, name text
) returns pgembedd_internal._search_operand
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    operand pgembedd_internal._search_operand;
begin
    select a.atttypid, 'plain', format_type(a.atttypid, null), a.atttypid in (25, 1043),
           format('pg_catalog.%I', t.typname),
           case a.atttypid when 1043 then 'pg_catalog.text' else format('pg_catalog.%I', t.typname) end,
           '{operator(pg_catalog.<),operator(pg_catalog.<=),operator(pg_catalog.=),operator(pg_catalog.>=),'
           'operator(pg_catalog.>)}'
    into operand.base, operand.kind, operand.type_name, operand.is_text, operand.written, operand.type,
         operand.operators
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = source and a.attname = $2 and a.attnum > 0 and a.atttypid = any (_plain_types())
      and has_column_privilege(source, a.attnum, 'select');
    operand.name := name;
    operand.expression := format('s.%I::%s', name, operand.type);
    return operand;
end $$;

-- Postgres's own types of single values that most columns have.
create or replace function pgembedd_internal._plain_types() returns oid[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return '{16,20,21,23,25,700,701,1043,1082,1114,1184,1700,2950}';
end $$;

-- The columns that the caller may read, vectors excepted, or those of these names; `base` is the type, or what a domain
-- is made of. In plpgsql, which keeps the plan.
create or replace function pgembedd_internal._search_columns(source oid, names text[] default null)
returns table (number smallint, name text, type oid, base oid, category "char", element oid, width smallint)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select a.attnum, a.attname::text, t.oid, b.oid, b.typcategory, b.typelem, a.attlen
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        join pg_type b on b.oid = case when t.typtype = 'd' then _base_type(t.oid) else t.oid end
        where a.attrelid = source and a.attnum > 0 and not a.attisdropped
          and (names is null or a.attname = any (names)) and has_column_privilege(source, a.attnum, 'select')
          and b.typname not in ('vector', 'halfvec', 'sparsevec', '_vector', '_halfvec', '_sparsevec');
end $$;

-- The operand as the column's btree operator class compares it: that of the type, of all types of its kind, or of one
-- that it can be taken as without a change. An array has none whose elements have none, or a domain's.
create or replace function pgembedd_internal._compared_by_btree(
    operand pgembedd_internal._search_operand, column_name text
) returns pgembedd_internal._search_operand
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    kind oid;
    element record;
    usable oid[];
    family oid;
    class_type oid;
begin
    select case t.typtype when 'e' then 'anyenum'::regtype when 'r' then 'anyrange'::regtype
                          when 'm' then 'anymultirange'::regtype when 'c' then 'record'::regtype
                          else case when t.typcategory = 'A' then 'anyarray'::regtype end end
    into kind from pg_type t where t.oid = operand.base;
    select e.oid, e.typtype into element
    from pg_type t join pg_type e on e.oid = t.typelem where t.oid = operand.base and t.typcategory = 'A';
    usable := array[operand.base, kind] || array(
        select p.casttarget from pg_cast p join pg_type t on t.oid = p.casttarget
        where p.castsource = operand.base and p.castmethod = 'b' and p.castcontext = 'i'
        order by t.typispreferred desc, t.oid);
    select c.opcfamily, c.opcintype into family, class_type
    from pg_opclass c join pg_am m on m.oid = c.opcmethod
    where m.amname = 'btree' and c.opcdefault and c.opcintype = any (usable) and (element.oid is null
        or element.typtype <> 'd' and (_compared_by_btree(
            jsonb_populate_record(operand, jsonb_build_object('base', element.oid)), '')).operators is not null)
    order by array_position(usable, c.opcintype) limit 1;
    operand.type := _qualified_type(case when class_type = kind then operand.base
                                         else coalesce(class_type, operand.base) end);
    operand.written := _qualified_type(operand.base);
    operand.expression := format('s.%I::%s', column_name, operand.type);
    operand.operators := (
        select array_agg(format('operator(%I.%s)', n.nspname, o.oprname) order by p.amopstrategy)
        from pg_amop p join pg_operator o on o.oid = p.amopopr join pg_namespace n on n.oid = o.oprnamespace
        where p.amopfamily = family and p.amoplefttype = class_type and p.amoprighttype = class_type);
    return operand;
end $$;
