-- Guests: pipelines that were not created with create_pipeline(). A project that set up its own triggers after
-- Supabase's guide to automatic embeddings sends {"id", "schema", "table", "contentFunction", "embeddingColumn"}. The
-- first claim that meets such a message registers a pipeline without triggers of ours (own_triggers = false).
--
-- A role that may insert into the queue could name any table and any function, and a pipeline reads as the table's
-- owner. So the message alone is not trusted. Its table must have a trigger whose arguments are this function and this
-- column: that is the owner's consent, and the guide's own interface. And the function must belong to a role that the
-- owner has to trust anyway: the owner, the role that installed pgembedd, or a superuser; else a role with the right
-- TRIGGER alone could run its code as the owner. A guest changes nothing of the table: no column, no index, no trigger.

-- The pipeline that a claimed message is worked for. A guest's trigger may have been given another function since.
create or replace function pgembedd._claimed_for(message jsonb) returns integer
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select p.id from pipeline p
    where p.id = _pipeline_of(message)
      and (p.own_triggers or message ? 'pipeline' or message ->> 'contentFunction' is null
           or p.content_function like '%.' || replace(replace(replace(
                quote_ident(regexp_replace(message ->> 'contentFunction', '^.*\.', '')), '\', '\\'), '_', '\_'), '%',
                '\%'))
$$;

-- Whom a message is for that no pipeline claims: a guest, registered now where it was none; or why not. Both null: not
-- to be decided at this moment. Never raises, and waits for locks for a moment only: a claim is held up meanwhile.
create or replace function pgembedd._guest(queue text, message jsonb, out host pgembedd.pipeline, out refusal text)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '1s'
as $$
declare
    wanted pgembedd.pipeline;
    hint text;
begin
    refusal := 'No pipeline writes where this job points.';
    if message ? 'pipeline' or coalesce(message -> 'id', 'null') = 'null'
       or jsonb_typeof(message -> 'schema') is distinct from 'string'
       or jsonb_typeof(message -> 'table') is distinct from 'string'
       or jsonb_typeof(message -> 'contentFunction') is distinct from 'string'
       or jsonb_typeof(message -> 'embeddingColumn') is distinct from 'string' then
        return;
    end if;
    -- Registered a moment ago, by a message of the same claim?
    select p.* into host from pipeline p where p.id = _claimed_for(message);
    if host.id is not null then
        refusal := null;
        return;
    elsif not pg_try_advisory_xact_lock(hashtextextended('pgembedd.guest', 0)) then
        refusal := null;  -- another claim is at it
        return;
    end if;
    select p.* into host from pipeline p where p.id = _pipeline_of(message);
    -- A job that names what no trigger names any more is older than that change.
    if host.id is not null and not exists (
        select from _triggers_of_others(host.source, message ->> 'contentFunction', host.embedding_column)) then
        refusal := null;
        return;
    end if;
    wanted := _guest_wanted(queue, message);
    if host.id is null then
        host := _register_guest(wanted);
    elsif not host.own_triggers and host.content_function <> wanted.content_function then
        host := _guest_with(host, wanted.content_function);
    end if;
    refusal := null;
exception
    -- Two at once: locks, but also the same name twice, and an internal error where both grant a right.
    when lock_not_available or transaction_rollback or insufficient_resources or unique_violation or internal_error then
        host := null; refusal := null;
    when others then
        get stacked diagnostics refusal = message_text, hint = pg_exception_hint;
        host := null;
        refusal := concat_ws(' ', refusal, nullif(hint, ''), 'Then call pgembedd.retry_failed().');
end $$;

-- The pipeline that a message asks for, or a refusal.
create or replace function pgembedd._guest_wanted(queue text, message jsonb) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    wanted pgembedd.pipeline;
    named text := format('%I.%I', message ->> 'schema', message ->> 'table');
    function regprocedure;
begin
    wanted.embedding_column := message ->> 'embeddingColumn';
    -- The triggers of a partitioned table fire with the name of the partition.
    wanted.source := coalesce(pg_partition_root(to_regclass(named)), to_regclass(named));
    wanted.source_name := named;
    wanted.name := _guest_name(wanted.source, wanted.embedding_column);
    perform _check_source(wanted);
    wanted.source_name := wanted.source::text;
    wanted.key_columns := array(select k.name from _key_columns(wanted.source) k);
    function := _guest_function(wanted.source, message ->> 'contentFunction');
    perform _check_guest_key(wanted), _check_consent(wanted, message ->> 'contentFunction', function);
    wanted.content_function := _content_function(function, message ->> 'contentFunction', wanted.source_name);
    perform _check_owner(wanted);
    select l.queue, l.backfill_queue into wanted.queue, wanted.backfill_queue
    from lanes() l where _guest_wanted.queue in (l.queue, l.backfill_queue) order by l.queue <> 'embedding_jobs'
    limit 1;
    return wanted;
end $$;

create or replace function pgembedd._guest_name(source regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when n.nth = 1 then b.base else b.base || '-' || n.nth end
    from (select coalesce(nullif(ltrim(left(regexp_replace(coalesce((select relname from pg_class where oid = source),
        'guest')
            || '.' || embedding_column, '[^A-Za-z0-9_.-]+', '_', 'g'), 50), '.-'), ''), 'guest') as base) b
    cross join generate_series(1, (select count(*) + 1 from pipeline)) as n(nth)
    where not exists (select from pipeline p where p.name = case when n.nth = 1 then b.base
                                                                 else b.base || '-' || n.nth end)
    order by n.nth limit 1
$$;

-- The model is create_pipeline's default; a pipeline for a column of another size is stopped until its model is named.
create or replace function pgembedd._register_guest(wanted pgembedd.pipeline) returns pgembedd.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    typmod integer;
    namespace text := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                       where c.oid = wanted.source);
begin
    select t.typname, a.atttypmod into wanted.vector_type, typmod
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = wanted.source and a.attname = wanted.embedding_column and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = '' and t.oid in (to_regtype(_vector_type('halfvec')), to_regtype(_vector_type('vector')));
    if wanted.vector_type is null then
        perform _refuse(format('%s has no column "%s" of the type halfvec or vector.', wanted.source,
            wanted.embedding_column),
            format('Add it with ALTER TABLE %s ADD COLUMN %I halfvec(384).', wanted.source, wanted.embedding_column));
    end if;
    wanted.dimensions := case when typmod > 0 then typmod else 384 end;
    wanted.state_reason := case
        when typmod <= 0 then format('%s.%I has no dimensions. Run ALTER TABLE %s ALTER '
                                     'COLUMN %I TYPE %s(384), then call pgembedd.resume(%L).',
            wanted.source, wanted.embedding_column, wanted.source, wanted.embedding_column,
            _vector_type(wanted.vector_type), wanted.name)
        when typmod <> 384
            then format('%s.%I has %s dimensions, gte-small makes 384. If these vectors are of '
                        'another model that pgembedd has, call pgembedd.drop_pipeline(%L) and '
                        'pgembedd.create_pipeline(..., adopt => true, model => ..., dimensions => %s).',
            wanted.source, wanted.embedding_column, typmod, wanted.name, typmod) end;
    insert into pipeline (
        name, source, source_name, key_columns, content_function, watch_columns, embedding_column, model, dimensions,
        vector_type, distance, on_update, queue, backfill_queue, max_attempts, search_path, m, ef_construction,
        own_triggers, state, state_reason)
    values (
        wanted.name, wanted.source, wanted.source_name, wanted.key_columns, wanted.content_function, '{}',
        wanted.embedding_column, 'gte-small', wanted.dimensions, wanted.vector_type,
        _indexed_distance(wanted.source, wanted.embedding_column), 'keep', wanted.queue, wanted.backfill_queue, 5,
        -- Where a hosted project's own connections look things up: its table's schema, public, and that of extensions.
        (select string_agg(quote_ident(s.name), ', ' order by s.nth)
         from (select u.name, min(u.nth) as nth from unnest(array[namespace, 'public',
                (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                 where e.extname = 'vector')])
                with ordinality as u(name, nth) group by u.name) s),
        16, 64, false, case when wanted.state_reason is null then 'running' else 'stopped' end, wanted.state_reason)
    returning * into wanted;
    perform _generate(wanted);
    perform _notify_created(wanted, 0);
    if wanted.state = 'stopped' then
        perform _notify('stopped', wanted.id, jsonb_build_object('reason', wanted.state_reason));
    end if;
    return wanted;
end $$;

create or replace function pgembedd._indexed_distance(source regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select case when o.opcname like '%\_l2\_ops' then 'l2' when o.opcname like '%\_ip\_ops' then 'ip' end
        from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        join pg_opclass o on o.oid = i.indclass[0]
        where i.indrelid = source and a.attname = embedding_column
        order by o.opcname not like '%cosine%' desc, i.indexrelid limit 1), 'cosine')
$$;

-- The trigger was given another content function; two triggers that do not agree are nothing we could serve.
create or replace function pgembedd._guest_with(host pgembedd.pipeline, content_function text) returns pgembedd.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if exists (select from _guest_triggers(host)) then
        perform _refuse(format('Triggers on %s fill "%s" by two functions, %s and %s.', host.source,
            host.embedding_column,
            host.content_function, content_function), 'Leave one of them.');
    end if;
    update pipeline p set content_function = _guest_with.content_function where p.id = host.id returning * into host;
    perform _generate_read(host), _generate_write(host);
    return host;
end $$;
