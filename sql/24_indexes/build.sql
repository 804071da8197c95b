-- Building an index that was deferred: the statements to run, and removing what a failed build leaves.

-- Each statement is to be run on its own, since CONCURRENTLY refuses to be part of a transaction.
create or replace function pgembedd.index_statements(pipeline text default null) returns setof text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '100ms'  -- the frame of a partitioned index makes its writers stand in line
as $$
declare
    one pgembedd_internal.pipeline;
    ignored text;
begin
    if pipeline is not null then
        one := _pipeline(pipeline);
        ignored := _check_has_vectors(one);
        ignored := _check_problem(one, 'The index of "%s" cannot be built: %s');
        update pipeline p
        set index_type = 'hnsw', index_due_at = least(p.index_due_at, clock_timestamp()),
            index_name = coalesce(p.index_name,
                _free_name(_target(p), _index_base(_target(p), _vector_column(p)) || '_hnsw'))
        where p.id = one.id and _index_state(p) <> 'valid';
    end if;
    for one in
        select p.* from pipeline p
        where p.index_due_at is not null and (index_statements.pipeline is null or p.name = index_statements.pipeline)
        order by p.id
    loop
        continue when coalesce(_index_state(one), 'valid') = 'valid' or _problem(one) is not null;
        return query select _index_statements(one);
    end loop;
end $$;
comment on function pgembedd.index_statements is
    'What is left to be run, one by one and in no transaction, '
    'for the index of one pipeline (due from now on) or of all.';

create or replace function pgembedd_internal._index_statements(made pgembedd_internal.pipeline) returns setof text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    frame regclass;
    leaf regclass;
    part text;
begin
    if _lacks_words_index(made) then
        return query select format('drop index %s', w.index) from _words_indexes(made) w;
        -- By name, as pg_cron may run it twice.
        return next format('create index concurrently %I on %s using gin (pgembedd_words)', (
            select _truncate_name(c.relname, 59) || '_gin' from pg_class c where c.oid = made.words_table),
            made.words_table);
    end if;
    if exists (select from _fitting_indexes(made, _target(made)) f where f.valid) then return; end if;
    if exists (select from _unfinished_indexes(made)) then
        return next format('select pgembedd_internal._drop_unfinished(%s)', made.id);
    end if;
    frame := _index_frame(made);
    if frame is null then
        return next case
            when _is_hypertable(_target(made))  -- TimescaleDB has no CONCURRENTLY: one chunk after the other is locked
            then format('create index %I on %s %s', made.index_name, _target(made),
                        replace(_hnsw(made), 'with (', 'with (timescaledb.transaction_per_chunk, '))
            else format('create index concurrently %I on %s %s', made.index_name, _target(made), _hnsw(made)) end;
        return;
    end if;
    for leaf in select t.relid from pg_partition_tree(_target(made)) t where t.isleaf order by t.relid loop
        continue when _index_within(frame, leaf) is not null;
        select f.index::text into part from _fitting_indexes(made, leaf) f
        where f.valid and f.method = 'hnsw' and not exists (select from pg_inherits h where h.inhrelid = f.index)
        limit 1;
        if part is null then
            return next format('create index concurrently %I on %s %s', _index_name(made, leaf), leaf, _hnsw(made));
            part := format('%I.%I', _schema_of(leaf), _index_name(made, leaf));
        end if;
        return next format('select pgembedd_internal._attach_index(%L, %L)',
            _index_within(frame, (select i.inhparent from pg_inherits i where i.inhrelid = leaf)), part);
    end loop;
end $$;

-- Drops what a failed build left. A build holds this lock on the table, so that no index is dropped that is being built
-- or has just become valid. Raises lock_not_available during a build.
create or replace function pgembedd_internal._drop_unfinished(pipeline_id integer) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
declare
    one pgembedd_internal.pipeline;
    item record;
    dropped integer := 0;
begin
    select p.* into one from pipeline p where p.id = pipeline_id;
    for item in
        select u as index, i.indrelid::regclass as relation
        from _unfinished_indexes(one) u join pg_index i on i.indexrelid = u
    loop
        execute format('lock table only %s in share update exclusive mode nowait', item.relation);
        if exists (select from pg_index i where i.indexrelid = item.index and not i.indisvalid) then
            execute format('drop index %s', item.index);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

-- Before its pipeline is dropped: cancels the build of its index and drops an unfinished one.
create or replace function pgembedd_internal._abandon_index(made pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item text;
begin
    perform pg_cancel_backend(b) from _builders(made) b;
    if _index_state(made) = 'valid' then return; end if;
    -- The frame of a partitioned one takes the parts that are attached to it along. The builder that was cancelled
    -- drops it at the same time.
    for item in
        select format('%I.%I', n.nspname, c.relname) from _tables(made) t, _fitting_indexes(made, t) f
        join pg_class c on c.oid = f.index join pg_namespace n on n.oid = c.relnamespace
        where f.name = _index_name(made, t) and not exists (select from pg_inherits h where h.inhrelid = f.index)
    loop
        execute format('drop index if exists %s', item);
    end loop;
end $$;
