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
begin
    if current.name = made.name then return; end if;
    update answer a set pipeline = made.name where a.pipeline = current.name;
    update answer_source s set pipeline = made.name where s.pipeline = current.name;
    update answer_settings s set pipeline = made.name where s.pipeline = current.name;
    perform _rename_in_comments(made);
    update pipeline p set name = made.name where p.id = made.id;
end $$;

-- Writes the name of the pipeline into the comments on its tables, where these are ours.
create or replace function pgembedd_internal._rename_in_comments(one pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named constant text := 'kept in step by the pipeline "%s".';
    item record;
begin
    for item in
        select r as relation, regexp_replace(told, format(named, '[^"]*'), format(named, one.name)) as told
        from unnest(array[one.embedding_table, one.words_table]) as r, obj_description(r, 'pg_class') as told
        where told ~ format(named, '[^"]*')
    loop
        execute format('comment on table %s is %L', item.relation, item.told);
    end loop;
end $$;
