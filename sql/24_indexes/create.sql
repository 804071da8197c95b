-- The HNSW index is built inside create_pipeline(), or CONCURRENTLY after the backfill, which no function can do. In
-- the second case index_statements() returns the statements; a worker whose role may, `pgembedd index`, pg_cron or a
-- person runs them. index_due_at is set as long as the index is outstanding.

-- Rows from which on index_when => 'auto' puts the index off: below, there are only seconds to be had.
create or replace function pgembedd_internal._many_rows() returns bigint
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 20000::bigint $$;

create or replace function pgembedd_internal._has_rows(made pgembedd_internal.pipeline, many bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    -- Counted, because the estimate of a table that was just loaded is that of an empty one.
    return _may_have_rows(made.source) and _execute_once(made, format(
        'select pg_catalog.to_jsonb(pg_catalog.count(*) operator(pg_catalog.>=) %1$s)
         from (select from %2$s limit %1$s) r', many, made.source), is_query => true)::boolean;
end $$;

-- True if a role could build an index on that table: it acts for the owner, and may create in the schema.
create or replace function pgembedd_internal._may_index(role oid, source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role(role, c.relowner, 'usage') and has_schema_privilege(role, c.relnamespace, 'create')
    from pg_class c where c.oid = source
$$;

-- A function of another schema; null where there is none. For to_regprocedure() this role would need USAGE on the
-- schema, and a role that is no superuser mostly lacks it on those of pg_cron and pg_net.
create or replace function pgembedd_internal._function_of(schema text, name text, arguments text) returns regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f join pg_namespace n on n.oid = f.pronamespace
    where n.nspname = $1 and f.proname = $2 and oidvectortypes(f.proargtypes) = $3
$$;

-- True if a role can have pg_cron run statements here.
create or replace function pgembedd_internal._has_cron(role oid) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when schedule is null then false
                else has_schema_privilege(role, 'cron', 'usage')
                     and has_function_privilege(role, schedule, 'execute') end
    from _function_of('cron', 'schedule', 'text, text, text') schedule
$$;

-- True if the index would be built afterwards: by pg_cron, or by a worker that answers now.
create or replace function pgembedd_internal._has_builder(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (select from pg_namespace n
                   where n.nspname = 'pgembedd' and _has_cron(n.nspowner) and _may_index(n.nspowner, source))
        or exists (select from workers() w
                   where w.answers and 'index' = any (w.tasks) and _may_index(w.role, source))
$$;

-- True if the owner has made the index of the rows that wait, in a migration of another tool for one.
create or replace function pgembedd_internal._has_missing_index(made pgembedd_internal.pipeline, relation regclass)
returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_index i
        where i.indrelid = relation and i.indisvalid
          and pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NULL)', made.embedding_column)
          and made.key_columns = array(
              select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, nth)
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by k.nth))
$$;

-- The HNSW index for searching, now or planned, and a small one of the rows that still wait, for the sweep and for
-- status.
create or replace function pgembedd_internal._ensure_indexes(
    made pgembedd_internal.pipeline, index_when text, index_within interval
) returns pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    target regclass := _target(made);
    missing text;
    planned text := _free_name(target, _index_base(target, _vector_column(made)) || '_hnsw');
begin
    made.created_indexes := '{}';
    if made.embedding_table is null and not _has_missing_index(made, target) then
        missing := _free_name(target, _index_base(target, made.embedding_column) || '_missing');
        made.created_indexes := array[format('%I.%I', _schema_of(target), missing)];
    end if;
    if not exists (select from _fitting_indexes(made, target) f where f.valid) then
        made.index_name := planned;
        made.created_indexes := format('%I.%I', _schema_of(target), planned) || made.created_indexes;
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
            _column_list(made.key_columns), made.embedding_column);
    end if;
    return made;
end $$;
