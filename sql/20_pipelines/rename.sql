-- Refuses a name that is taken, or that a switch or its way back gives to the shadow of another pipeline.
create or replace function pgembedd_internal._check_free_name(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if exists (select from pipeline p where p.name = made.name) then
        raise exception using message = format('There is a pipeline "%s" already.', made.name),
            hint = 'Take another name.', errcode = 'duplicate_object';
    elsif exists (
        select from pipeline s join pipeline p on p.id = s.shadow_of
        where made.name in (p.name || '.next', p.name || '.previous') and s.id is distinct from made.id)
    then
        raise exception using message = format('The name "%s" is kept for the change of a model.', made.name),
            hint = 'Take another name.', errcode = 'duplicate_object';
    end if;
end $$;

-- Gives the pipeline its new name wherever it is known by it. Last, as until the commit no store notes what it wrote.
create or replace function pgembedd_internal._rename(
    current pgembedd_internal.pipeline, made pgembedd_internal.pipeline
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ending constant text := 'kept in step by the pipeline "%s".';
    item record;
begin
    if current.name = made.name then return; end if;
    update answer a set pipeline = made.name where a.pipeline = current.name;
    update answer_source s set pipeline = made.name where s.pipeline = current.name;
    update answer_settings s set pipeline = made.name where s.pipeline = current.name;
    for item in
        select r as relation, replace(told, format(ending, current.name), format(ending, made.name)) as told
        from unnest(array[made.embedding_table, made.words_table]) as r, obj_description(r, 'pg_class') as told
        where strpos(told, format(ending, current.name)) > 0
    loop
        execute format('comment on table %s is %L', item.relation, item.told);
    end loop;
    update pipeline p set name = made.name where p.id = made.id;
end $$;
