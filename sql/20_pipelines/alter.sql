-- alter_pipeline() makes the record that create_pipeline() would make with the changed options (changes.sql), by the
-- same checks, then brings what was made for the present one in line with it. A changed content has every row queued;
-- vectors stay until they are replaced. While a model is changed, both sides are altered.

-- In SQL and not pinned to a search_path, like create_pipeline().
create or replace function pgembedd.alter_pipeline(
    pipeline text,
    rename_to text default null,
    content_columns text[] default null,
    content_function text default null,
    watch_columns text[] default null,
    on_update text default null,
    max_attempts integer default null,
    retry_delay interval default null,
    retry_factor double precision default null,
    retry_max_delay interval default null,
    text_config text default null,
    enable_always boolean default null,
    triggers boolean default null,
    reset text[] default null,
    backfill boolean default true,
    if_exists boolean default false,
    uri_column text default null,
    uri_prefixes text[] default null,
    recheck_interval interval default null,
    objects_uri text default null
) returns bigint
language sql
as $$
    select case when pgembedd_internal._is_to_be_altered(pipeline, if_exists) then pgembedd_internal._alter_pipeline(
        pgembedd_internal._checked(pgembedd_internal._asked_pipeline(
            pgembedd_internal._changes(pipeline, pg_catalog.jsonb_build_object(
                'name', rename_to, 'content_columns', content_columns, 'content_function', content_function,
                'watch_columns', watch_columns, 'on_update', on_update, 'max_attempts', max_attempts,
                'retry_delay', retry_delay, 'retry_factor', retry_factor, 'retry_max_delay', retry_max_delay,
                'text_config', text_config, 'enable_always', enable_always, 'triggers', triggers,
                'uri_column', uri_column, 'uri_prefixes', uri_prefixes, 'recheck_interval', recheck_interval,
                'objects_uri', objects_uri), reset),
            present => pgembedd_internal._pipeline_now(pipeline))), backfill) else 0 end
$$;
comment on function pgembedd.alter_pipeline is
    'Change options of a pipeline, or its name; what is null stays as it is. Returns how many rows were queued.';

-- Locks the pipeline and its second one. False, with a notice, where there is none and none is needed.
create or replace function pgembedd_internal._is_to_be_altered(name text, if_exists boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '2s'
as $$
declare
    one pgembedd_internal.pipeline := _pipeline_if_exists(name, if_exists);
    ignored text;
begin
    if one.id is null then return false; end if;
    perform from pipeline p where one.id in (p.id, p.shadow_of) order by p.id for no key update;
    if one.shadow_of is not null then
        raise exception using message = format('"%s" is the second pipeline of a change of model.', name),
            hint = format('Alter "%s": this one is altered with it.',
                (select p.name from pipeline p where p.id = one.shadow_of)),
            errcode = 'object_not_in_prerequisite_state';
    end if;
    return true;
exception when lock_not_available then
    ignored := _refuse_locked(null, 'altered', name);
end $$;

-- As it is after the wait for its lock: volatile, as the snapshot of the statement that calls it is older.
create or replace function pgembedd_internal._pipeline_now(name text) returns pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ begin return _pipeline(name); end $$;

-- Of what _checked() returned.
create or replace function pgembedd_internal._alter_pipeline(
    made pgembedd_internal.pipeline, backfill boolean
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'  -- writers stand in line behind us
as $$
declare
    current constant pgembedd_internal.pipeline := _pipeline_of(made.id);
    shadow pgembedd_internal.pipeline := _shadow(current);
    queued bigint;
    ignored text;
begin
    if shadow.id is not null and made.name <> current.name then ignored := _check_names(made.name); end if;
    if made.text_config_column is distinct from current.text_config_column then
        ignored := _check_text_config_values(made);
    end if;
    queued := _alter_side(current, made, backfill);
    if shadow.id is not null then
        queued := queued + _alter_side(shadow, _checked(_altered_alike(shadow, current, made)), backfill);
    end if;
    return queued;
exception when lock_not_available then
    ignored := _refuse_locked(current, 'altered');
end $$;

create or replace function pgembedd_internal._pipeline_of(id integer) returns pgembedd_internal.pipeline
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select p from pipeline p where p.id = $1 $$;

-- Alters one pipeline. Returns how many rows were queued.
create or replace function pgembedd_internal._alter_side(
    current pgembedd_internal.pipeline, made pgembedd_internal.pipeline, backfill boolean
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    changed text[] := _changed_fields(current, made);
    ignored text;
    queued bigint := 0;
begin
    if changed = '{}' then return 0; end if;
    if 'name' = any (changed) then ignored := _check_free_name(made); end if;
    backfill := coalesce(backfill, true) and changed && '{content_columns,content_function}';
    if backfill then ignored := _check_isolation(); end if;
    perform _lock_to_alter(made, changed);
    if changed && '{enable_always,triggers}' then
        perform _drop_triggers(array(select f.oid from _generated(made.id) f));
    end if;
    if changed && '{text_config,text_config_column}' then
        made.words_table := _replaced_words(current, made);
        changed := changed || 'words_table'::text;
    end if;
    perform _update_fields(made, array_remove(changed, 'name'));
    if not changed <@ '{max_attempts,retry_delay,retry_factor,retry_max_delay,uri_prefixes,recheck_interval}' then
        perform _remake(made), _attach(made, renewed => case when 'watch_columns' = any (changed) then 'clear' end);
    end if;
    if 'triggers' = any (changed) then perform _tidy(made); end if;  -- rows were deleted, and their chunks were not
    if backfill then
        queued := _backfill(made, 'all');
        update pipeline p set content_shape = _content_shape(made) where p.id = made.id;
    end if;
    perform _rename(current, made), _notify_altered(current, made, changed, queued);
    return queued;
end $$;

-- A row that was committed after the snapshot of the transaction would keep a vector of the old content.
create or replace function pgembedd_internal._check_isolation() returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using
            message = format('The content of a pipeline cannot be altered in a transaction that is %s.',
                upper(current_setting('transaction_isolation'))),
            hint = 'Alter it in one that is READ COMMITTED, which sees every row to be queued.',
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

-- Keeps out writers and stores while code of the one kind is replaced by code of the other; where a trigger may have to
-- be dropped readers as well, from the beginning, as a stronger lock taken later could end in a deadlock.
create or replace function pgembedd_internal._lock_to_alter(
    made pgembedd_internal.pipeline, changed text[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if changed && '{on_update,enable_always,triggers}' then
        execute format('lock table %s in access exclusive mode', made.source);
    elsif changed && '{content_columns,content_function,watch_columns,text_config,text_config_column}' then
        execute format('lock table %s in share row exclusive mode', made.source);
    end if;
    if made.embedding_table is not null
       and changed && '{content_columns,content_function,text_config,text_config_column}' then
        -- Less than a deadlock_timeout, for a writer who holds it and waits for the source.
        perform set_config('lock_timeout', '500ms', true);
        execute format('lock table %s in share row exclusive mode', made.embedding_table);
        perform set_config('lock_timeout', '2s', true);
    end if;
end $$;

-- The table for the words by another configuration, empty: the sweep fills it. Null where there are to be none.
create or replace function pgembedd_internal._replaced_words(
    current pgembedd_internal.pipeline, made pgembedd_internal.pipeline
) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _drop_words(current);
    delete from word_frequency f where f.pipeline_id = made.id;
    delete from word_statistics w where w.pipeline_id = made.id;
    return _ensure_words(made);
end $$;

create or replace function pgembedd_internal._update_fields(made pgembedd_internal.pipeline, fields text[]) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if fields <> '{}' then
        execute format('update pgembedd_internal.pipeline p set (%1$s) = '
                       '(select %1$s from (select ($1).*) m) where p.id = $2',
            (select string_agg(quote_ident(f), ', ') from unnest(fields) as f)) using made, made.id;
    end if;
end $$;

create or replace function pgembedd_internal._notify_altered(
    before pgembedd_internal.pipeline, after pgembedd_internal.pipeline, changed text[], queued bigint
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _notify('altered', after.id, jsonb_build_object(
        'changed', (select coalesce(jsonb_agg(distinct o.option order by o.option), '[]') from (
            select case f when 'asked_watch_columns' then 'watch_columns' when 'text_config_column' then 'text_config'
                          else f end as option
            from unnest(changed) as f where f not in ('name', 'words_table')) o),
        'renamed_from', nullif(before.name, after.name), 'queued', queued));
end $$;
