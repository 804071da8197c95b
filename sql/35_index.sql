-- The index that searches use: when it is made, what is left to do for it, and what status says of it.
--
-- It is made at once, inside create_pipeline(), or after the backfill, CONCURRENTLY, which no function can do. Then
-- index_statements() says what is to be run; a worker whose role may, `pgembedd index`, pg_cron or a person runs it.
-- index_due_at is set for as long as that is outstanding.

-- Rows from which on index_when => 'auto' puts the index off: below, there are only seconds to be had.
create or replace function pgembedd._many_rows() returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 20000::bigint $$;

create or replace function pgembedd._has_rows(made pgembedd.pipeline, many bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    -- Counted, because the estimate of a table that was just loaded is that of an empty one.
    return _ask_once(made, format('select pg_catalog.to_jsonb(pg_catalog.count(*) operator(pg_catalog.>=) %1$s) from (select from %2$s limit %1$s) r', many, made.source))::boolean;
end $$;

-- Whether a role could build an index on that table: it acts for the owner, and may create in the schema.
create or replace function pgembedd._may_index(role oid, source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role(role, c.relowner, 'usage') and has_schema_privilege(role, c.relnamespace, 'create')
    from pg_class c where c.oid = source
$$;

-- Whether a role can have pg_cron run statements here.
create or replace function pgembedd._has_cron(role oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when schedule is null then false
                else has_schema_privilege(role, 'cron', 'usage') and has_function_privilege(role, schedule, 'execute') end
    from to_regprocedure('cron.schedule(text, text, text)') schedule
$$;

-- Who would build it afterwards: pg_cron, or a worker that is connected now. A worker holds a connection of this
-- name for as long as it looks for indexes to build.
create or replace function pgembedd._has_builder(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select exists (select from pg_namespace n
                   where n.nspname = 'pgembedd' and _has_cron(n.nspowner) and _may_index(n.nspowner, source))
        or exists (select from pg_stat_activity a
                   where a.datname = current_database() and a.application_name = 'pgembedd index'
                     and _may_index(a.usesysid, source))
$$;

-- Indexes of a table that answer this pipeline's searches, or will once they are valid.
create or replace function pgembedd._fitting_indexes(made pgembedd.pipeline, relation regclass)
returns table (index regclass, name text, kind "char", method text, valid boolean)
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select i.indexrelid::regclass, c.relname::text, c.relkind, a.amname::text, i.indisvalid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_opclass o on o.oid = i.indclass[0]
    join pg_attribute k on k.attrelid = i.indrelid and k.attnum = i.indkey[0]
    where i.indrelid = relation and k.attname = _vector_column(made) and i.indpred is null
      and a.amname in ('hnsw', 'ivfflat') and o.opcname = format('%s_%s_ops', made.vector_type, made.distance)
$$;

create or replace function pgembedd._hnsw(made pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('using hnsw (%I %I.%I) with (m = %s, ef_construction = %s)', _vector_column(made), n.nspname,
                  format('%s_%s_ops', made.vector_type, made.distance), made.m, made.ef_construction)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$$;

-- The start of a name in at most so many bytes: Postgres would cut the end off, and with it what tells names apart.
create or replace function pgembedd._cut(name text, bytes integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select left(name, (select max(n) from generate_series(0, bytes) n where octet_length(left(name, n)) <= bytes)) $$;

create or replace function pgembedd._index_base(relation regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select _cut(c.relname, 20) || '_' || _cut(embedding_column, 20) from pg_class c where c.oid = relation $$;

-- What our index on the source, or on one of its partitions, is called. Partitions' names tend to begin alike.
create or replace function pgembedd._index_name(made pgembedd.pipeline, relation regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when relation = _target(made) then made.index_name
                else _index_base(relation, _vector_column(made)) || '_hnsw_' || relation::oid end
$$;

create or replace function pgembedd._space(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation $$;

create or replace function pgembedd._free_name(source regclass, wished text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    name text := wished;
    tries integer := 1;
begin
    while to_regclass(format('%I.%I', _space(source), name)) is not null loop
        tries := tries + 1;
        name := wished || tries;
    end loop;
    return name;
end $$;

-- The HNSW index for searching, now or planned, and a small one of the rows that still wait, for the sweep and for
-- status.
create or replace function pgembedd._ensure_indexes(made pgembedd.pipeline, index_when text, index_within interval)
returns pgembedd.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    target regclass := _target(made);
    missing text;
    planned text := _free_name(target, _index_base(target, _vector_column(made)) || '_hnsw');
begin
    made.created_indexes := '{}';
    if made.embedding_table is null then
        missing := _free_name(target, _index_base(target, made.embedding_column) || '_missing');
        made.created_indexes := array[format('%I.%I', _space(target), missing)];
    end if;
    if not exists (select from _fitting_indexes(made, target) f where f.valid) then
        made.index_name := planned;
        made.created_indexes := format('%I.%I', _space(target), planned) || made.created_indexes;
        if index_when = 'later'
           or index_when = 'auto' and _has_rows(made, _many_rows()) and _has_builder(made.source)
        then
            made.index_due_at := clock_timestamp() + index_within;
            perform _index_frame(made);
        else
            execute format('create index %I on %s %s', planned, target, _hnsw(made));
        end if;
    end if;
    if missing is not null then
        execute format('create index %I on %s (%s) where %I is null', missing, target,
            (select string_agg(quote_ident(k), ', ') from unnest(made.key_columns) as k), made.embedding_column);
    end if;
    return made;
end $$;

-- An index of a partitioned table cannot be built concurrently, those of its partitions can: this is what they are
-- attached to, empty and not valid before the last of them is there. Null for a table that is not partitioned.
create or replace function pgembedd._index_frame(made pgembedd.pipeline) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    frame regclass;
    inner_table regclass;
begin
    if (select relkind from pg_class where oid = _target(made)) <> 'p' then return null; end if;
    select f.index into frame from _fitting_indexes(made, _target(made)) f where f.method = 'hnsw';
    if frame is null then
        execute format('create index %I on only %s %s', made.index_name, _target(made), _hnsw(made));
        frame := format('%I.%I', _space(_target(made)), made.index_name)::regclass;
    end if;
    for inner_table in
        select t.relid from pg_partition_tree(_target(made)) t where not t.isleaf and t.level > 0 order by t.level
    loop
        continue when _index_within(frame, inner_table) is not null;
        execute format('create index %I on only %s %s', _index_name(made, inner_table), inner_table, _hnsw(made));
        perform _attach_index(
            _index_within(frame, (select i.inhparent from pg_inherits i where i.inhrelid = inner_table)),
            format('%I.%I', _space(inner_table), _index_name(made, inner_table))::regclass);
    end loop;
    return frame;
end $$;

-- The part of a partitioned index that belongs to one table of the tree, or null.
create or replace function pgembedd._index_within(frame regclass, relation regclass) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.relid from pg_partition_tree(frame) t join pg_index i on i.indexrelid = t.relid where i.indrelid = relation
$$;

create or replace function pgembedd._attach_index(frame regclass, part regclass) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'  -- whoever plans a query stands in line behind us
as $$
begin
    execute format('alter index %s attach partition %s', frame, part);
end $$;

-- How many rows have a vector. Counted: a build reads them all twice, and a wrong guess costs it its speed.
create or replace function pgembedd._vectors(made pgembedd.pipeline) returns bigint
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    statement text := format('select pg_catalog.to_jsonb(pg_catalog.count(s.%I)) from %s s', _vector_column(made), _target(made));
    found_ones jsonb;
begin
    if has_schema_privilege('pgembedd_code', 'usage') then
        return _ask(made, statement)::bigint;
    end if;
    execute statement into found_ones;  -- who has no more rights than the table's owner may ask directly
    return found_ones::bigint;
end $$;

-- The table that holds the vectors, and all its partitions.
create or replace function pgembedd._tables(made pgembedd.pipeline) returns setof regclass
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select _target(made) union select t.relid from pg_partition_tree(_target(made)) t $$;

-- Indexes of ours that were begun and are not valid: somebody is building them, or was. Writers keep them up.
create or replace function pgembedd._unfinished_indexes(made pgembedd.pipeline) returns setof regclass
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select f.index from _tables(made) t, _fitting_indexes(made, t) f
    where not f.valid and f.kind = 'i' and f.name = _index_name(made, t)
$$;

-- The processes that build one of them.
create or replace function pgembedd._builders(made pgembedd.pipeline) returns setof integer
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select b.pid from pg_stat_progress_create_index b where b.index_relid in (select i from _unfinished_indexes(made) i)
$$;

create or replace function pgembedd._index_state(made pgembedd.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    key bigint := hashtextextended('pgembedd.index', 0);
    unfinished boolean := exists (select from _unfinished_indexes(made));
begin
    if not _exists(_target(made)) then
        return null;
    elsif exists (select from _fitting_indexes(made, _target(made)) f where f.valid) then
        return 'valid';
    -- The lock as well, because what another role does is not for everybody to see.
    elsif unfinished and (exists (select from _builders(made)) or exists (
        select from pg_locks l join pg_database d on d.oid = l.database
        where d.datname = current_database() and l.locktype = 'advisory' and l.granted
          and (l.classid::bigint << 32 | l.objid::bigint) = key and l.objsubid = 1))
    then
        return 'building';
    elsif unfinished then
        return 'invalid';
    elsif made.index_due_at is null then
        return 'none';
    end if;
    return case when made.index_due_at <= clock_timestamp() then 'due' else 'deferred' end;
end $$;
