-- Types of the key that bring operators or casts of their own: after a change of type those may not fit any more.
create or replace function pgembedd._has_custom_key_operators(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select coalesce(bool_or(not starts_with(equals, 'operator(pg_catalog.') or compared <> ''), false) from _key_columns(source)
$$;

-- What is wrong with our code since somebody altered the table is no reason for a writer's statement to fail. This is a
-- subtransaction, which a transaction of many small statements would feel: only where nothing cheaper will do.
create or replace function pgembedd._ignore_schema_errors(pipeline pgembedd.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format($q$
exception
    when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
        raise warning 'pgembedd could not note this change for the pipeline "%%": %%', %L, sqlerrm;$q$, pipeline.name)
$$;

-- Statements over 1,000 rows go to the backfill lane, so that a bulk load does not stand before fresh writes.
create or replace function pgembedd._trigger_body(pipeline pgembedd.pipeline, before text, key text, rows text, after text)
returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($body$
#variable_conflict use_column
declare
    large boolean;
    something boolean;
    nestloop text;
    gone jsonb[];
begin
    %1$s
    large := exists (select from new_rows offset 1000);
    something := false;
    -- A database restored without its queues must still take writes; the sweep finds the rows later.
    if large and to_regclass(%2$L) is not null then
        %3$s;
        something := found;
    elsif not large and to_regclass(%4$L) is not null then
        %5$s;
        something := found;
    end if;
    %8$s
    if something and (select last_value from pgembedd.worker_idle) = 1 then
        perform pg_notify('pgembedd', case when large then %6$L else %7$L end);
    end if;
    return null;%9$s
end $body$,
        before,
        _queue_table(pipeline.backfill_queue), _enqueue(pipeline, pipeline.backfill_queue, key, rows),
        _queue_table(pipeline.queue), _enqueue(pipeline, pipeline.queue, key, rows),
        pipeline.backfill_queue, pipeline.queue, after,
        case when _has_custom_key_operators(pipeline.source) then _ignore_schema_errors(pipeline) || ' return null;' else '' end)
$$;

create or replace function pgembedd._generate_triggers(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    on_insert text := _pipeline_function(pipeline.id, 'on_insert');
    on_update text := _pipeline_function(pipeline.id, 'on_update');
    clear text := _pipeline_function(pipeline.id, 'clear');
    installer regrole := (select nspowner from pg_namespace where nspname = 'pgembedd');
    first_key text := (select name from _key_columns(pipeline.source) limit 1);
    compared text[] := array_remove(pipeline.watch_columns || pipeline.embedding_column, null);
    new_rows text := _transition_rows(pipeline, 'new_rows');
    old_rows text := _transition_rows(pipeline, 'old_rows');
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_insert, _key_settings(pipeline.source),
        _trigger_body(pipeline, '', _key_json(pipeline.source, 'n'), new_rows || ' n', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_update, _key_settings(pipeline.source),
        _trigger_body(pipeline,
            -- Most updates touch one row, and nothing of ours in it: they must get by with one look. Of several rows
            -- some pair differs in any case, at least in its key, so a statement that has no pair has nothing to do.
            -- Our own store fires this trigger too; what a user's trigger changes during it (depth > 1) still counts.
            -- plpgsql would keep the nested-loop plan of single-row updates for a statement over 20,000 rows.
            format($before$
    select true into something from %4$s n left join %5$s o on true where %1$s operator(pg_catalog.*<>) %2$s;
    if something is null then return null; end if;
    if current_setting('pgembedd.storing', true) = %3$L and pg_trigger_depth() = 1 then return null; end if;
    nestloop := current_setting('enable_nestloop');
    perform set_config('enable_nestloop', 'off', true);$before$,
                _record(pipeline.key_columns || compared, 'n'), _record(pipeline.key_columns || compared, 'o'), pipeline.id,
                new_rows, old_rows),
            _key_json(pipeline.source, 'n'),
            -- Images are compared, not values: = does not exist for json, and no operator of a user's may run here.
            format('%s n left join %s o on %s where o.%I is null or %s operator(pg_catalog.*<>) %s', new_rows, old_rows,
                _key_match(pipeline.source, 'n', 'o'), first_key, _record(compared, 'n'), _record(compared, 'o')),
            case when pipeline.embedding_table is not null then _forget_old_rows(pipeline, first_key, compared) else '' end
            || 'perform set_config(''enable_nestloop'', nestloop, true);'));
    perform _set_owner(on_insert || '()', installer), _set_owner(on_update || '()', installer);
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null then
        execute format('create or replace function %s() returns trigger language plpgsql
                        set search_path = pg_catalog, pg_temp as %L', clear,
            -- Assigning to a column that was renamed would fail; a name that is not there is passed over here.
            format('begin return pg_catalog.jsonb_populate_record(new, %L); end', jsonb_build_object(pipeline.embedding_column, null)));
        perform _set_owner(clear || '()', installer);
    end if;
end $$;

-- The chunks of rows that have another key now, and with on_update => 'clear' those of rows that changed.
create or replace function pgembedd._forget_old_rows(pipeline pgembedd.pipeline, first_key text, compared text[]) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$
    select array_agg(%s) into gone from %s o left join %s n on %s where n.%I is null%s;
    if gone is not null then perform %s(gone); end if;
    $q$, _key_json(pipeline.source, 'o'), _transition_rows(pipeline, 'old_rows'), _transition_rows(pipeline, 'new_rows'),
        _key_match(pipeline.source, 'n', 'o'), first_key,
        case when pipeline.on_update = 'clear'
             then format(' or %s operator(pg_catalog.*<>) %s', _record(compared, 'n'), _record(compared, 'o')) else '' end,
        _pipeline_function(pipeline.id, 'forget'))
$$;
