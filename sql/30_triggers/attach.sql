-- The statement triggers of a pipeline. With an embedding table, chunks are deleted with their row.
create or replace function pgembedd._triggers(pipeline pgembedd.pipeline) returns table (verb text, event text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select t.verb, t.event
    from (values ('insert', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows', true),
                 ('update', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', true),
                 ('delete', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows', false),
                 ('truncate', 'AFTER TRUNCATE ON %s', false)) as t(verb, event, always)
    where t.always or pipeline.embedding_table is not null
$$;

-- The statement that creates one of them, in the form of pg_get_triggerdef().
create or replace function pgembedd._trigger_definition(pipeline_id integer, verb text, event text, relation regclass)
returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('CREATE TRIGGER %I %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
        format('pgembedd_%s_%s', pipeline_id, verb), format(event, relation),
        _pipeline_function(pipeline_id, 'on_' || verb))
$$;

-- Whether a trigger that calls the pipeline's code is one of this version.
create or replace function pgembedd._is_trigger(pipeline pgembedd.pipeline, trigger pg_trigger) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    -- As it stands in pg_trigger.tgtype: 1 for each row, 2 before, 4 insert, 8 delete, 16 update.
    select case trigger.tgname
               when format('pgembedd_%s_clear', pipeline.id) then trigger.tgtype = 1 + 2 + 16
               when format('pgembedd_%s_row', pipeline.id)
               then trigger.tgtype = 1 + 4 + 16 + case when pipeline.embedding_table is null then 0 else 8 end
               else false end
        or exists (select from _triggers(pipeline) t
                   where pg_get_triggerdef(trigger.oid)
                         = _trigger_definition(pipeline.id, t.verb, t.event, trigger.tgrelid))
$$;

-- Creates what is missing of the triggers. Called again by maintenance, for partitions attached later.
create or replace function pgembedd._attach(pipeline pgembedd.pipeline) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    clear text := format('pgembedd_%s_clear', pipeline.id);
    attached integer;
begin
    if not pipeline.triggers then return 0; end if;
    attached := _attach_statement_triggers(pipeline);
    -- Postgres clones a row trigger of the root to the partitions.
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null and not exists (
        select from pg_trigger where tgrelid = pipeline.source and tgname = clear)
    then
        -- The function, not its operator *<>, of which a dump would make a comparison of each column by itself.
        execute format('create trigger %I before update on %s for each row when (pg_catalog.record_image_ne(%s, %s))
                        execute function %s()',
            clear, pipeline.source, _record(pipeline.watch_columns, 'new'),
            _record(pipeline.watch_columns, 'old'), _pipeline_function(pipeline.id, 'clear'));
    end if;
    perform _attach_replica(pipeline);
    return attached;
end $$;

-- On the table, and on every leaf of a partitioned one: a statement fires only the triggers of the table it names.
-- Returns how many tables lacked one.
create or replace function pgembedd._attach_statement_triggers(pipeline pgembedd.pipeline) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    relation regclass;
    item record;
    attached integer := 0;
    prefix text := format('pgembedd_%s_', pipeline.id);
begin
    for relation in
        select pipeline.source union
        select t.relid from pg_partition_tree(pipeline.source) t join pg_class c on c.oid = t.relid
        where c.relkind in ('r', 'p')
    loop
        continue when (
            select bool_and(exists (
                select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || t.verb))
            from _triggers(pipeline) t);
        for item in select t.verb, t.event from _triggers(pipeline) t loop
            if exists (select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || item.verb) then
                execute format('drop trigger %I on %s', prefix || item.verb, relation);
            end if;
            execute _trigger_definition(pipeline.id, item.verb, item.event, relation);
        end loop;
        attached := attached + 1;
    end loop;
    return attached;
end $$;
