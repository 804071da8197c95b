-- The primary key's columns: name, type, the equality operator of the key's own index, and the type to compare in,
-- which for a domain is what it is made of: operators on "any enum" and the like do not take domains.
create or replace function pgembedd_internal._key_columns(source regclass)
returns table (nth bigint, name text, type text, equals text, base oid, compared text)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- Asked for often: the joins stand in a good order, and one plan serves every table.
set join_collapse_limit = 1 set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select k.nth, a.attname::text, format('%I.%I', tn.nspname, t.typname),
               format('operator(%I.%s)', n.nspname, o.oprname), b.oid,
               case when t.typtype = 'd' and o.oprleft <> b.oid then '::' || _qualified_type(b.oid) else '' end
        from pg_index i
        cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality as k(attnum, opclass, nth)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        join pg_type t on t.oid = a.atttypid
        join pg_namespace tn on tn.oid = t.typnamespace
        cross join lateral (select case when t.typtype = 'd' then _base_type(t.oid) else t.oid end as oid) b
        join pg_opclass c on c.oid = k.opclass
        join pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
        join pg_amop p on p.amopfamily = c.opcfamily and p.amopstrategy = 3
                      and p.amoplefttype = c.opcintype and p.amoprighttype = c.opcintype
        join pg_operator o on o.oid = p.amopopr
        join pg_namespace n on n.oid = o.oprnamespace
        where i.indrelid = source and i.indisprimary and k.nth <= i.indnkeyatts
        order by k.nth;
end $$;

-- The key of a row as the message carries it: the bare value, or an object when the key is composite.
-- Types from outside pg_catalog go through their output function alone: to_jsonb would run a cast to json
-- that a user may have defined, inside the writer's transaction.
create or replace function pgembedd_internal._key_json(source regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when count(*) = 1 then min(value)
                else format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', name, value), ', ')) end
    from (select name, case when base < 16384 then format('pg_catalog.to_jsonb(%s.%I)', alias, name)
                            else format('pg_catalog.to_jsonb(pg_catalog.format(''%%s'', %s.%I))', alias, name) end
          from _key_columns(source)) as k(name, value)
$$;

-- FROM item `k` with the key's columns in their own types, out of the jsonb expression `id`. A single column of one of
-- the usual types is cast, which takes a fifth of what the function takes.
create or replace function pgembedd_internal._key_record(source regclass, id text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case
        when count(*) = 1 and min(type) = any ('{pg_catalog.int8,pg_catalog.int4,pg_catalog.uuid,pg_catalog.text}')
            then format('(select (%s operator(pg_catalog.#>>) ''{}''::pg_catalog.text[])::%s as %I) as k',
                        id, min(type), min(name))
        else format('pg_catalog.jsonb_to_record(%s) as k(%s)',
                    case when count(*) = 1 then format('pg_catalog.jsonb_build_object(%L, %s)', min(name), id)
                         else id end,
                    string_agg(format('%I %s', name, type), ', ')) end
    from _key_columns(source)
$$;

-- The condition that two rows have one key; where it is `numbered`, in the columns of _key_numbered in the second one.
create or replace function pgembedd_internal._key_match(source regclass, a text, b text, numbered boolean default false)
returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('%1$s.%3$I%5$s %4$s %2$s.%6$I%5$s', a, b, name, equals, compared,
                             case when numbered then 'key_' || nth else name end), ' and ')
    from _key_columns(source)
$$;

-- The key as columns of names of ours: the write gathers key, hash and vector in one row, where a key column may be
-- called like one of ours.
create or replace function pgembedd_internal._key_numbered(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select string_agg(format('k.%I as key_%s', name, nth), ', ') from _key_columns(source) $$;

-- Settings that make the text of a key independent of the writer's settings; none where the key's types do not ask for
-- any, since every one costs each statement a little.
create or replace function pgembedd_internal._key_settings(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when bool_and(base = any ('{int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,bool,date,timestamp}'
                                          ::regtype[])) then ''
                else 'set datestyle = ''ISO'' set intervalstyle = ''postgres'' '
                     'set extra_float_digits = ''1'' set timezone = ''UTC'' set bytea_output = ''hex''' end
    from _key_columns(source)
$$;

-- The order of the primary key, and the condition that the row `s` comes after the key `k` in it. The operators are
-- those of the key's own index, so that it serves both, whatever types and schemas there are.
create or replace function pgembedd_internal._key_order(source regclass, out by_key text, out later text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with columns as (
        select k.nth, k.equals,
               format('s.%I%s', k.name, k.compared) as ours, format('k.%I%s', k.name, k.compared) as theirs,
               _key_operator(source, k.nth, 1) as less, _key_operator(source, k.nth, 5) as greater,
               _key_operator(source, k.nth, 4) as not_less
        from _key_columns(source) k)
    select string_agg(format('%s using %s', c.ours, c.less), ', ' order by c.nth),
           case when count(distinct c.greater) = 1 then format('row(%s) %s row(%s)',
               string_agg(c.ours, ', ' order by c.nth), min(c.greater), string_agg(c.theirs, ', ' order by c.nth))
           -- The first column alone once more, outside of the OR, where the index can use it.
           else format('%s and (%s)', min(format('%s %s %s', c.ours, c.not_less, c.theirs)) filter (where c.nth = 1),
               string_agg(concat_ws(' and ',
                   (select string_agg(format('%s %s %s', b.ours, b.equals, b.theirs), ' and ') from columns b
                    where b.nth < c.nth),
                   format('%s %s %s', c.ours, c.greater, c.theirs)), ' or ' order by c.nth)) end
    from columns c
$$;

-- What that order follows from, to be compared.
create or replace function pgembedd_internal._key_shape(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(concat_ws(' ', k.name, k.type, k.equals), ', ' order by k.nth) from _key_columns(source) k
$$;

-- An operator of the primary key's nth column, by its btree strategy: 1 less, 4 not less, 5 greater.
create or replace function pgembedd_internal._key_operator(source regclass, nth bigint, strategy integer) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('operator(%I.%s)', n.nspname, o.oprname)
    from pg_index i
    join pg_opclass c on c.oid = (i.indclass::oid[])[nth - 1]
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = strategy
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where i.indrelid = source and i.indisprimary
$$;
