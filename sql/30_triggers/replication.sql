-- enable_always: changes that arrive under session_replication_role = replica, as a subscriber's apply worker sets it.
-- Logical replication fires row triggers only, so there is one that fires in that role only (ENABLE REPLICA). Ordinary
-- sessions fire the statement triggers, so no change is enqueued twice. TRUNCATE fires statement triggers in both
-- roles, and on_update => 'clear' is a row trigger: these two are ENABLE ALWAYS.

create or replace function pgembedd_internal._generate_on_row(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    compared text[] := array_remove(pipeline.key_columns || pipeline.watch_columns || pipeline.embedding_column, null);
begin
    perform _generate_trigger(pipeline, 'on_row', _render($body$
declare
    changed_key jsonb;
    gone_key jsonb;
begin
    -- An error would stop the replication. This block writes nothing, so that its subtransaction costs no number.
    begin
        if tg_op = 'INSERT' then
            changed_key := {new_key};
        elsif tg_op = 'DELETE' then
            gone_key := {old_key};
        elsif {differs} then
            changed_key := {new_key};
            if {key_is_gone} then gone_key := {old_key}; end if;
        end if;
    exception when others then
        raise warning 'pgembedd could not note this change for the pipeline "%": %', {name}, sqlerrm;
        return null;
    end;
    {forget}
    if changed_key is null then return null; end if;
    {enqueue}
    return null;
end $body$, jsonb_build_object(
        'new_key', _key_json(pipeline.source, 'new'), 'old_key', _key_json(pipeline.source, 'old'),
        'differs', _differs(compared, 'new', 'old', _file_column(pipeline)), 'name', quote_literal(pipeline.name),
        'key_is_gone', case when pipeline.on_update = 'clear' then 'true'
                            else _differs(pipeline.key_columns, 'new', 'old') end,
        'forget', case when pipeline.embedding_table is not null
            then format('if gone_key is not null then perform %s(array[gone_key]); %s end if;',
                        _pipeline_function(pipeline.id, 'forget'), _check_path_of_trigger()) end,
        'enqueue', _enqueue_or_note(pipeline, 'pgembedd_fresh', 'i.id', '(select changed_key as id) i'))));
end $$;

-- When each trigger fires, which ALTER TABLE ... ENABLE TRIGGER ALL, among others, changes.
create or replace function pgembedd_internal._enable_always(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    for item in
        select g.tgrelid::regclass as relation, g.tgname as name, w.mode
        from pg_trigger g
        join (values ('row', 'R', 'replica'), ('truncate', 'A', 'always'), ('clear', 'A', 'always'))
            as w(verb, enabled, mode) on g.tgname = format('pgembedd_%s_%s', pipeline.id, w.verb)
                                     and w.enabled::"char" <> g.tgenabled
        where g.tgrelid in (select _with_partitions(pipeline.source))
        order by g.tgrelid = pipeline.source desc
    loop
        execute format('alter table %s enable %s trigger %I', item.relation, item.mode, item.name);
    end loop;
end $$;
