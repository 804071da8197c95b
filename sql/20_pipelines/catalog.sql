create or replace function pgembedd_internal._exists(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = source) $$;

create or replace function pgembedd_internal._owner(relation regclass) returns regrole
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select relowner::regrole from pg_class where oid = relation $$;

create or replace function pgembedd_internal._schema_of(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation $$;

-- Gives a table or a view of ours to the owner of the source.
create or replace function pgembedd_internal._give_to_owner(relation regclass, source regclass) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if _owner(relation) <> _owner(source) then
        execute format('alter table %s owner to %s', relation, _owner(source));
    end if;
end $$;

-- The type of a column as format_type() writes it; null where there is no such column.
create or replace function pgembedd_internal._type_of_column(relation regclass, name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format_type(a.atttypid, a.atttypmod) from pg_attribute a
    where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped
$$;

-- The columns that the table does not have, quoted; null where it has all.
create or replace function pgembedd_internal._missing_columns(relation regclass, columns text[]) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('"%s"', c.name), ', ' order by c.nth)
    from (select n as name, min(nth) as nth from unnest(columns) with ordinality as u(n, nth) group by n) c
    where _type_of_column(relation, c.name) is null
$$;

-- Columns as a list of expressions, of a row of that alias if there is one.
create or replace function pgembedd_internal._column_list(columns text[], alias text default null) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select string_agg(format('%s%I', alias || '.', c.name), ', ' order by c.nth)
      from unnest(columns) with ordinality as c(name, nth) $$;

-- The start of a name in at most so many bytes: Postgres would cut the end off, and with it what tells names apart.
create or replace function pgembedd_internal._truncate_name(name text, bytes integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if octet_length(name) <= bytes then return name; end if;
    return left(name, (select max(n) from generate_series(0, bytes) n where octet_length(left(name, n)) <= bytes));
end $$;

create or replace function pgembedd_internal._free_name(source regclass, wished text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    name text := wished;
    tries integer := 1;
begin
    while to_regclass(format('%I.%I', _schema_of(source), name)) is not null loop
        tries := tries + 1;
        name := wished || tries;
    end loop;
    return name;
end $$;

-- Whether a table is listed in the catalog of another extension: as a hypertable of TimescaleDB, whose chunks are its
-- inheritance children, or as distributed by Citus.
create or replace function pgembedd_internal._is_hypertable(relation regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    listed boolean := exists (select from pg_extension e where e.extname = 'timescaledb');
begin
    if listed then
        execute 'select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                                join _timescaledb_catalog.hypertable h
                                     on h.schema_name = n.nspname and h.table_name = c.relname
                                where c.oid = $1)' into listed using relation;
    end if;
    return listed;
end $$;

create or replace function pgembedd_internal._is_distributed(relation regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    listed boolean := to_regclass('pg_catalog.pg_dist_partition') is not null;
begin
    if listed then
        execute 'select exists (select from pg_catalog.pg_dist_partition p where p.logicalrelid = $1)'
        into listed using relation;
    end if;
    return listed;
end $$;

-- Inheritance proper, or one part of something: statements on the other tables would not fire our triggers.
create or replace function pgembedd_internal._inherits(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from pg_inherits i join pg_class c on c.oid = i.inhparent
                   where (i.inhrelid = source or i.inhparent = source)
                     and not ((c.relkind = 'p' or (select _is_hypertable(source))) and i.inhparent = source))
$$;

-- A table and all its partitions, or chunks. Unlike pg_partition_tree() it waits for none that is locked.
create or replace function pgembedd_internal._with_partitions(relation regclass) returns setof regclass
language sql stable rows 1  -- else the catalogs that it is joined with would be read as a whole
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with recursive tables(oid) as (
        select relation::oid
        union all
        select c.oid from tables t join pg_inherits i on i.inhparent = t.oid
        join pg_class c on c.oid = i.inhrelid and (c.relispartition or (select _is_hypertable(relation))))
    select t.oid::regclass from tables t
$$;

-- Whether a table or one of its partitions may have rows. One without a page has none, and is not read as its owner:
-- the session would keep plans of that, and while it creates thousands of pipelines, each change of the catalog would
-- go through all of them.
create or replace function pgembedd_internal._may_have_rows(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from _with_partitions(relation) t join pg_class c on c.oid = t
                   where case c.relkind when 'r' then pg_relation_size(c.oid) > 0 else c.relkind <> 'p' end)
$$;

-- The extension may live in any schema.
create or replace function pgembedd_internal._schema_of_vector() returns regnamespace
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select e.extnamespace::regnamespace from pg_extension e where e.extname = 'vector' $$;

-- halfvec or vector, qualified.
create or replace function pgembedd_internal._vector_type(name text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('%s.%I', _schema_of_vector(), $1) $$;

create or replace function pgembedd_internal._distance_operator(distance text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('operator(%s.%s)', _schema_of_vector(),
                  case distance when 'cosine' then '<=>' when 'l2' then '<->' else '<#>' end)
$$;

-- The type of a pipeline's vectors, as format_type() writes it.
create or replace function pgembedd_internal._vectors_type(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) $$;

create or replace function pgembedd_internal._base_type(type oid) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive t(oid, base) as (
        select p.oid, p.typbasetype from pg_type p where p.oid = type
        union all select p.oid, p.typbasetype from t join pg_type p on p.oid = t.base)
    select t.oid from t where t.base = 0
$$;

create or replace function pgembedd_internal._qualified_type(type oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select format('%I.%I', n.nspname, t.typname)
            from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = type);
end $$;

-- The schemas of our functions: what is for others, and what is our own.
create or replace function pgembedd_internal._schemas() returns regnamespace[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select '{pgembedd,pgembedd_internal}'::regnamespace[] $$;

-- The role that installed pgembedd.
create or replace function pgembedd_internal._owner_of_schema() returns regrole
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select nspowner::regrole from pg_namespace where nspname = 'pgembedd' $$;
