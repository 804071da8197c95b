create or replace function pgembedd.drop_pipeline(
    pipeline text, drop_vectors boolean default false, if_exists boolean default false
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'  -- writers stand in line behind us
as $$
declare
    gone pgembedd_internal.pipeline := _pipeline_if_exists(pipeline, if_exists);
    item text;
    ignored text;
begin
    if gone.id is null then return; end if;
    ignored := _check_dependants(gone, drop_vectors);
    -- First: a running build holds a lock that dropping a trigger would wait for.
    if _exists(gone.source) then
        perform _abandon_index(gone);
    end if;
    perform _return_messages(gone);  -- before the functions go that it reads keys with
    perform _drop_generated(array(select f.oid from _generated(gone.id) f)), _drop_words(gone);
    -- The index of waiting rows is ours alone; the HNSW index serves searches and is dropped with the column.
    for item in
        select i.indexrelid::regclass from unnest(gone.created_indexes) as c(name)
        join pg_index i on i.indexrelid = to_regclass(c.name) where i.indpred is not null
    loop
        execute format('drop index %s', item);
    end loop;
    if drop_vectors then
        perform _drop_vectors(gone);
    end if;
    foreach item in array _queues() loop
        execute format('delete from %s q where %s', _queue_table(item), _is_for(gone.id));
    end loop;
    delete from answer a where a.pipeline = gone.name;
    delete from answer_settings s where s.pipeline = gone.name;
    -- Of what is made from its rows: they are no pages any more.
    delete from prepared_search s using pipeline p where p.id = s.pipeline_id and p.source = gone.embedding_table;
    delete from pipeline p where p.id = gone.id;
    perform _notify('dropped', gone.id, name => gone.name);
exception when lock_not_available then
    ignored := _refuse_locked(gone, 'dropped');
end $$;
comment on function pgembedd.drop_pipeline is
    'Stop embedding a table: triggers, jobs and dead letters '
    'go; vectors, pages and a finished index stay unless drop_vectors.';

-- Refuses to drop what other pipelines stand on.
create or replace function pgembedd_internal._check_dependants(
    gone pgembedd_internal.pipeline, drop_vectors boolean
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if (_shadow(gone)).id is not null then
        raise exception using message = format('"%s" has a second pipeline, "%s".', gone.name, (_shadow(gone)).name),
            hint = format('Drop that first, with its vectors: select pgembedd.drop_pipeline(%L, drop_vectors => true).',
                (_shadow(gone)).name), errcode = 'dependent_objects_still_exist';
    elsif drop_vectors and _dependants(gone) is not null then
        raise exception using
            message = format('%s, the table of "%s", is the source of another pipeline: %s.', gone.embedding_table,
                gone.name, _dependants(gone)),
            hint = 'Drop that first, or drop this one without its table.', errcode = 'dependent_objects_still_exist';
    end if;
end $$;

create or replace function pgembedd_internal._generated(pipeline_id integer) returns table (oid oid, version tid)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select f.oid, f.ctid from pg_proc f
    -- The names that begin so, as a range of the index; ` comes after _.
    where f.pronamespace = 'pgembedd_code'::regnamespace
          and f.proname >= format('pipeline_%s_', $1)::name and f.proname < format('pipeline_%s`', $1)::name
       or f.pronamespace = 'pgembedd_internal'::regnamespace
          and f.proname >= format('_search_%s_', $1)::name and f.proname < format('_search_%s`', $1)::name
$$;

-- The triggers that call functions; by what they depend on, as pg_trigger has no index by function. OFFSET keeps the
-- planner from reading what all triggers depend on, where no ANALYZE has seen that they are many.
create or replace function pgembedd_internal._triggers_of(functions oid[]) returns table (oid oid)
language sql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
    select d.objid from unnest(functions) as f(oid)
    cross join lateral (select d.* from pg_depend d
                        where d.refclassid = 'pg_proc'::regclass and d.refobjid = f.oid offset 0) d
    where d.classid = 'pg_trigger'::regclass
$$;

create or replace function pgembedd_internal._drop_triggers(functions oid[]) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    for item in
        select t.tgname, t.tgrelid::regclass as relation from _triggers_of(functions) f
        join pg_trigger t on t.oid = f.oid
        where not t.tgisinternal and t.tgparentid = 0
        order by t.tgrelid desc  -- a hypertable takes what it copied to its chunks along
    loop
        execute format('drop trigger %I on %s', item.tgname, item.relation);
    end loop;
end $$;

-- With the triggers that call them.
create or replace function pgembedd_internal._drop_generated(functions oid[]) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    perform _drop_triggers(functions);
    for item in select f::regprocedure as signature from unnest(functions) as f loop
        execute format('drop routine %s', item.signature);
    end loop;
end $$;

create or replace function pgembedd_internal._drop_vectors(gone pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if gone.embedding_table is null and _exists(gone.source) then
        execute format('alter table %s drop column if exists %I', gone.source, gone.embedding_column);
    elsif gone.embedding_table is not null and _exists(gone.embedding_table) then
        if _view(gone) is not null then
            execute format('drop view %s', _view(gone));
        end if;
        execute format('drop table %s', gone.embedding_table);
    end if;
end $$;
