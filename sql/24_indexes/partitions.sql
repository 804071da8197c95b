-- An index of a partitioned table cannot be built concurrently, those of its partitions can: this is what they are
-- attached to, empty and not valid before the last of them is there. Null for a table that is not partitioned.
create or replace function pgembedd_internal._index_frame(made pgembedd_internal.pipeline) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    frame regclass;
    inner_table regclass;
begin
    if (select relkind from pg_class where oid = _target(made)) <> 'p' then return null; end if;
    select f.index into frame from _fitting_indexes(made, _target(made)) f where f.method = 'hnsw' limit 1;
    if frame is null then
        execute format('create index %I on only %s %s', made.index_name, _target(made), _hnsw(made));
        frame := format('%I.%I', _schema_of(_target(made)), made.index_name)::regclass;
    end if;
    for inner_table in
        select t.relid from pg_partition_tree(_target(made)) t where not t.isleaf and t.level > 0 order by t.level
    loop
        continue when _index_within(frame, inner_table) is not null;
        execute format('create index %I on only %s %s', _index_name(made, inner_table), inner_table, _hnsw(made));
        perform _attach_index(
            _index_within(frame, (select i.inhparent from pg_inherits i where i.inhrelid = inner_table)),
            format('%I.%I', _schema_of(inner_table), _index_name(made, inner_table))::regclass);
    end loop;
    return frame;
end $$;

-- The part of a partitioned index that belongs to one table of the tree, or null.
create or replace function pgembedd_internal._index_within(frame regclass, relation regclass) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select t.relid from pg_partition_tree(frame) t join pg_index i on i.indexrelid = t.relid where i.indrelid = relation
$$;

create or replace function pgembedd_internal._attach_index(frame regclass, part regclass) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'  -- sessions that plan a query queue behind us
as $$
begin
    execute format('alter index %s attach partition %s', frame, part);
end $$;
