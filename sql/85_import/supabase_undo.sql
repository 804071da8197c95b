-- `pgembedd import supabase --undo`: the triggers and the waiting jobs as they were. What a worker did meanwhile is
-- done; what came since, and dead letters, become jobs of the guide.

-- Moves the jobs of an imported pipeline, dead letters included, into the guide's queue. Returns how many; also called
-- by drop_pipeline(), which would delete them.
create or replace function pgembedd_internal._return_messages(one pgembedd_internal.pipeline) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    given text := (select min(t.content_function) from imported_trigger t
                   where t.source = one.source and t.embedding_column = one.embedding_column);
    returned bigint;
    every bigint := 0;
    jobs text;
begin
    if given is null or not _exists(one.source) or to_regclass('pgmq.q_embedding_jobs') is null then return 0; end if;
    foreach jobs in array array[
        format('delete from pgmq.q_pgembedd_fresh q where %s', _is_for(one.id)),
        format('delete from pgmq.q_pgembedd_backfill q where %s', _is_for(one.id)),
        format('delete from pgembedd_internal.dead_letter q where q.pipeline_id = %s', one.id)]
    loop
        execute format($q$
            with job as (%s returning q.message, q.enqueued_at)
            insert into pgmq.q_embedding_jobs overriding system value
            select (jsonb_populate_record(null::pgmq.q_embedding_jobs, pgembedd_internal._guide_message(coalesce(
                o.message, jsonb_build_object('enqueued_at', j.enqueued_at, 'message',
                    jsonb_build_object('id', k.id, 'contentFunction', $1) || $2))))).*
            from job j left join %s
            cross join lateral (
                select case when %s then pgembedd_internal._kept_message(q.kept, $1) end as message
                from (select j.message -> 'imported' as kept, j.message -> 'imported' -> 'message' as message) q) o
            where o.message is not null or k.id is not null
            $q$, jobs, coalesce(_ids_and_keys(one) || $q$ on k.key = j.message -> 'id'$q$,
                                $q$lateral (select j.message -> 'id' as id) k on true$q$), _is_of_column(one))
            using given, (select jsonb_build_object('schema', n.nspname, 'table', c.relname,
                                                    'embeddingColumn', one.embedding_column)
                          from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = one.source);
        get diagnostics returned = row_count;
        perform pgembedd_internal._check_session();
        every := every + returned;
    end loop;
    return every;
end $$;

-- The guide's message that a job carries along; null for what is none. With the trigger's content function, because a
-- role that may only send to our queue must not choose what the guide's Edge Function calls.
create or replace function pgembedd_internal._kept_message(kept jsonb, content_function text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
begin
    one := jsonb_populate_record(null::pgmq.q_embedding_jobs, kept);
    return case when one.msg_id + one.read_ct is not null and one.enqueued_at is not null and one.vt is not null
                then jsonb_set(kept, '{message,contentFunction}', to_jsonb(content_function)) end;
exception when data_exception then
    return null;
end $$;

-- A message of the guide's queue, as JSON, under its own number where that is free and was given by this queue.
create or replace function pgembedd_internal._guide_message(original jsonb) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    numbers regclass := pg_get_serial_sequence('pgmq.q_embedding_jobs', 'msg_id');
    number bigint := (original ->> 'msg_id')::bigint;
begin
    if number is null or number > coalesce(pg_sequence_last_value(numbers), 0)
       or exists (select from pgmq.q_embedding_jobs q where q.msg_id = number) then
        number := nextval(numbers);
    end if;
    return jsonb_build_object('read_ct', 0, 'vt', clock_timestamp()) || original
        || jsonb_build_object('msg_id', number);
end $$;

create or replace function pgembedd_internal._restore_triggers(source regclass, embedding_column text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item pgembedd_internal.imported_trigger;
begin
    for item in
        delete from imported_trigger t
        where t.source = _restore_triggers.source and t.embedding_column = _restore_triggers.embedding_column
        returning t.*
    loop
        continue when exists (select from pg_trigger t where t.tgrelid = source and t.tgname = item.name);
        execute item.definition;
        if item.enabled <> 'O' then
            execute format('alter table %s %s trigger %I', source,
                case item.enabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end,
                item.name);
        end if;
    end loop;
exception when undefined_object or undefined_function or undefined_table or undefined_column or invalid_schema_name then
    raise exception using message = format('The trigger "%s" cannot be created again: %s.', item.name, sqlerrm),
        hint =
            format('Mend that; or, to give the guide up, delete from pgembedd_internal.imported_trigger '
            'where source_name = %L.', item.source_name), errcode = 'object_not_in_prerequisite_state';
end $$;

-- Undoes the import of one column: drops its pipeline, if there still is one. Returns how many jobs the guide has got.
create or replace function pgembedd_internal._undo_import(source_name text, embedding_column text) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    kept pgembedd_internal.imported_trigger;
    one pgembedd_internal.pipeline;
    returned bigint := 0;
begin
    select t.* into kept from imported_trigger t
    where t.source_name = _undo_import.source_name and t.embedding_column = _undo_import.embedding_column limit 1;
    if kept.source is null then
        raise exception using
            message = format('The column "%s" of %s was not imported.', embedding_column, source_name),
            errcode = 'undefined_object';
    elsif not _exists(kept.source) then
        raise exception using message = format('The table %s was dropped, and its triggers with it.', source_name),
            hint = format('Delete from pgembedd_internal.imported_trigger where source_name = %L.', source_name),
            errcode = 'undefined_table';
    elsif kept.source::text <> kept.source_name then
        raise exception using
            message = format('The table %s is called %s now, and its triggers were not.', source_name, kept.source),
            hint =
                format('Give it its name back; or, to give the guide up, '
                'delete from pgembedd_internal.imported_trigger where source_name = %L.', source_name),
            errcode = 'object_not_in_prerequisite_state';
    elsif to_regclass('pgmq.q_embedding_jobs') is null then
        raise exception using message = 'The guide''s queue is gone, which its triggers write to.',
            hint = 'Make it again: select pgmq.create(''embedding_jobs'').', errcode = 'undefined_table';
    end if;
    execute format('lock table %s in access exclusive mode', kept.source);
    select p.* into one from pipeline p
    where p.source = kept.source and p.embedding_column = _undo_import.embedding_column;
    perform _check_undo(kept, one);
    if one.id is not null then
        returned := _return_messages(one);
        perform drop_pipeline(one.name);
    end if;
    perform _restore_triggers(kept.source, embedding_column);
    return returned;
end $$;

-- Refuses to have the guide go on with a column of another model, as after change_model() and switch_model(): it would
-- write its vectors there.
create or replace function pgembedd_internal._check_undo(
    kept pgembedd_internal.imported_trigger, one pgembedd_internal.pipeline
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    now_type constant text := _column_type(kept.source, kept.embedding_column);
begin
    if (_shadow(one)).shadow = 'previous' then
        raise exception using
            message = format('The vectors of the guide are those of "%s" now.', (_shadow(one)).name),
            hint = format('Revert first: select pgembedd.revert_model(%L).', one.name),
            errcode = 'object_not_in_prerequisite_state';
    elsif now_type <> kept.column_type then
        raise exception using
            message = format('The column "%s" of %s is %s now, and the guide wrote %s.', kept.embedding_column,
                             kept.source_name, now_type, kept.column_type),
            hint = format('Give it its type back; or, to give the guide up, '
                          'delete from pgembedd_internal.imported_trigger where source_name = %L.', kept.source_name),
            errcode = 'datatype_mismatch';
    end if;
end $$;

-- For `uninstall`; a table that is gone needs nothing.
create or replace function pgembedd_internal._undo_imports() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _undo_import(t.source_name, t.embedding_column)
    from (select distinct i.source_name, i.embedding_column from imported_trigger i where _exists(i.source)) t;
end $$;
