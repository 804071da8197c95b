-- The condition that two rows have one key, for triggers: they name no type, operator or schema of a user's, which the
-- role that they run as need not be allowed to use. So values of such types are compared by their images.
create or replace function pgembedd_internal._trigger_key_match(source regclass, a text, b text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format(
        case when k.base < 16384 and starts_with(k.equals, 'operator(pg_catalog.')
             then '%1$s.%3$I%5$s %4$s %2$s.%3$I%5$s'
             else 'row(%1$s.%3$I)::pg_catalog.record operator(pg_catalog.*=) row(%2$s.%3$I)::pg_catalog.record' end,
        a, b, k.name, k.equals, k.compared), ' and ')
    from _key_columns(source) k
$$;

-- An exception clause, so that a writer's statement does not fail because the table was altered and our code does not
-- fit it any more. It makes a subtransaction, which costs a transaction of many small statements time: so it is used
-- for chunks only, and the other triggers do without.
create or replace function pgembedd_internal._ignore_schema_errors(pipeline pgembedd_internal.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format($q$
exception
    when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
        raise warning 'pgembedd could not note this change for the pipeline "%%": %%', %L, sqlerrm;$q$, pipeline.name)
$$;

-- `rows` is a FROM item of the new rows `n` to be queued. Statements over 1,000 rows go to the backfill lane, so that a
-- bulk load does not delay fresh writes.
create or replace function pgembedd_internal._trigger_body(
    pipeline pgembedd_internal.pipeline, before text, rows text, after text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($body$
#variable_conflict use_column
declare
    something boolean;
    nestloop text;
    gone jsonb[];
begin
    {before}
    if exists (select from new_rows offset 1000) then {enqueue_backfill} else {enqueue} end if;
    {after}
    return null;
end $body$, jsonb_build_object(
        'before', before, 'after', after,
        'enqueue_backfill', _enqueue_or_note(pipeline, 'pgembedd_backfill', _key_json(pipeline.source, 'n'), rows),
        'enqueue', _enqueue_or_note(pipeline, 'pgembedd_fresh', _key_json(pipeline.source, 'n'), rows)))
$$;

create or replace function pgembedd_internal._generate_triggers(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _generate_trigger(pipeline, 'on_insert',
        _trigger_body(pipeline, '', _transition_rows(pipeline, 'new_rows') || ' n', ''));
    perform _generate_trigger(pipeline, 'on_update', _update_body(pipeline));
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null then
        execute format('create or replace function %s() returns trigger language plpgsql
                        set search_path = pg_catalog, pg_temp as %L', _pipeline_function(pipeline.id, 'clear'),
            -- Assigning to a column that was renamed would fail; a name that is not there is passed over here.
            format('begin return pg_catalog.jsonb_populate_record(new, %L); end',
                jsonb_build_object(pipeline.embedding_column, null)));
        perform _set_owner(_pipeline_function(pipeline.id, 'clear') || '()', _owner_of_schema());
    end if;
    if pipeline.enable_always then perform _generate_on_row(pipeline); end if;
end $$;

create or replace function pgembedd_internal._generate_trigger(
    pipeline pgembedd_internal.pipeline, verb text, body text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    function text := _pipeline_function(pipeline.id, verb);
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', function, _key_settings(pipeline.source), body);
    perform _set_owner(function || '()', _runner());
    perform _let_call(_owner_of_schema(), function || '()');  -- as who makes a trigger must be able to
end $$;

-- Most updates touch one row, and no column of ours in it: they must get by with one look. Of several rows some pair
-- differs in any case, at least in its key, so a statement that has no pair has nothing to do. Our own store fires this
-- trigger too; what a user's trigger changes during it (depth > 1) still counts. plpgsql would keep the nested-loop
-- plan of single-row updates for a statement over 20,000 rows. The chunks are deleted of rows that have another key
-- now, and with on_update => 'clear' those of rows that changed.
create or replace function pgembedd_internal._update_body(pipeline pgembedd_internal.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    compared constant text[] := array_remove(pipeline.watch_columns || pipeline.embedding_column, null);
    f constant text := _file_column(pipeline);
    parts constant jsonb := jsonb_build_object(
        'new', _transition_rows(pipeline, 'new_rows') || ' n', 'old', _transition_rows(pipeline, 'old_rows') || ' o',
        'differs', _differs(compared, 'n', 'o', f),
        'differs_at_all', _differs(pipeline.key_columns || compared, 'n', 'o', f),
        'same_key', _trigger_key_match(pipeline.source, 'n', 'o'), 'key', quote_ident(pipeline.key_columns[1]),
        'old_key', _key_json(pipeline.source, 'o'), 'id', pipeline.id,
        'forget', _pipeline_function(pipeline.id, 'forget'), 'check_path', _check_path_of_trigger());
begin
    return _trigger_body(pipeline, _render($before$
    select true into something from {new} left join {old} on true where {differs_at_all} limit 1;
    if something is null then return null; end if;
    if coalesce(current_setting('pgembedd.storing', true), '') <> '' and pg_trigger_depth() = 1
        and has_schema_privilege('pgembedd_internal', 'usage') then
        if current_setting('pgembedd.storing', true) = pgembedd_internal._storing_mark({id}) then return null; end if;
    end if;
    nestloop := current_setting('enable_nestloop');
    perform set_config('enable_nestloop', 'off', true);$before$, parts),
        _render('{new} left join {old} on {same_key} where o.{key} is null or {differs}', parts),
        _render(case when pipeline.embedding_table is not null then $after$
    select array_agg({old_key}) into gone from {old} left join {new} on {same_key} where n.{key} is null$after$
            || case when pipeline.on_update = 'clear' then ' or {differs}' else '' end || $after$;
    if gone is not null then perform {forget}(gone); {check_path} end if;
    $after$ else '' end || 'perform set_config(''enable_nestloop'', nestloop, true);', parts));
end $$;

-- The statement for code that has run code of a table's owner. What a statement names is looked up when it is reached:
-- where all is well, nothing in the schema pgembedd_internal, on which other roles have rights (_grant_role).
create or replace function pgembedd_internal._check_path_of_trigger() returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select $q$if pg_catalog.current_setting('search_path') operator(pg_catalog.<>) 'pg_catalog, pg_temp' then
        perform pgembedd_internal._check_path('pg_catalog, pg_temp');
    end if;$q$
$$;
