-- After a switch: our indexes are named after what they index now, as create_pipeline() names them. None is being
-- built, as the switch holds the table.
create or replace function pgembedd_internal._rename_indexes(pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    created text;
    named text;
    wished text;
begin
    select p.* into one from pipeline p where p.id = pipeline_id;
    foreach created in array one.created_indexes loop
        named := (parse_ident(created))[2];
        wished := _index_base(_target(one), _vector_column(one))
            || case when named = one.index_name then '_hnsw' else '_missing' end;
        continue when named = wished;
        wished := _free_name(_target(one), wished);
        perform _rename_index(to_regclass(created), wished);
        update pipeline p
        set created_indexes = array_replace(
                p.created_indexes, created, format('%I.%I', _schema_of(_target(one)), wished)),
            index_name = case when p.index_name = named then wished else p.index_name end
        where p.id = pipeline_id;
    end loop;
    select p.* into one from pipeline p where p.id = pipeline_id;
    perform _rename_index(i.indexrelid, _free_name(i.indrelid, _index_name(one, i.indrelid)))
    from unnest(one.created_indexes) as c(name), pg_partition_tree(to_regclass(c.name)) t
    join pg_index i on i.indexrelid = t.relid
    where t.level > 0;
end $$;

create or replace function pgembedd_internal._rename_index(index regclass, to_name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if index is not null then  -- it is still to be built, or was dropped
        execute format('alter index %s rename to %I', index, to_name);
    end if;
end $$;
