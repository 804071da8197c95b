-- Database webhooks: {type, schema, table, record, old_record} for each row that changed, posted to a worker by a
-- trigger that is not ours. Only the key is used, and whether a watched column differs between the two records; the row
-- itself is read from the table, as for every job.

-- Queues a job for each row and pipeline that a webhook tells of, and claims them at once. The rows are those of
-- claim_pushed(), with the pipeline that each is for as `subject`, and one whose state is skipped for a pipeline that
-- has nothing to do. No rows: the table has no pipeline. Without a lease nothing is claimed: the jobs wait, their state
-- is queued.
create or replace function pgembedd_internal.claim_changed(change jsonb, lease_s integer)
returns table (subject text, state text, reason text, job pgembedd_internal.job)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    made record;
begin
    perform _check_webhook(change);
    select e.* into made from _enqueue_changed(change) e;
    return query
        select i.name, 'skipped', 'No watched column changed.', null::pgembedd_internal.job
        from unnest(made.idle) as i(name);
    if lease_s is not null then
        return query select made.subjects[c.n], c.state, c.reason, c.job from claim_pushed(made.jobs, lease_s) c;
    elsif made.subjects <> '{}' then
        perform _wake('pgembedd_fresh');
        return query select s.name, 'queued', null, null::pgembedd_internal.job from unnest(made.subjects) as s(name);
    end if;
end $$;
comment on function pgembedd_internal.claim_changed is
    'Queue the rows of a database webhook, in every pipeline of their table, and claim them at once.';

-- The jobs as claim_pushed() takes them, the pipeline of each as `subjects`, and the pipelines without a change.
create or replace function pgembedd_internal._enqueue_changed(
    change jsonb, out jobs jsonb, out subjects text[], out idle text[]
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    key jsonb;
    job_id bigint;
begin
    jobs := '[]'; subjects := '{}'; idle := '{}';
    for one in
        select p.* from pipeline p join pg_class c on p.source in (c.oid, pg_partition_root(c.oid))
        join pg_namespace s on s.oid = c.relnamespace
        where c.relname = change ->> 'table' and s.nspname = change ->> 'schema' order by p.id
    loop
        if _is_unwatched(one, change) then
            idle := idle || one.name;
            continue;
        elsif _pauses(one) and _has_key_of_owner(one) then
            raise exception 'The pipeline "%" pauses, as code of its table''s owner is too slow.', one.name
                using errcode = 'lock_not_available';
        end if;
        for key in
            select distinct _webhook_key(one, change, r.name)
            from unnest(case change ->> 'type' when 'INSERT' then '{record}' when 'DELETE' then '{old_record}'
                        else '{record,old_record}'::text[] end) as r(name)
        loop
            execute _enqueue(one, 'pgembedd_fresh', 'i.id', '(select $1 as id) i') || ' returning msg_id'
                into job_id using key;
            jobs := jobs || jsonb_build_object(
                'jobId', job_id, 'queue', 'pgembedd_fresh', 'readCt', 0, 'id', key, 'pipeline', one.id);
            subjects := subjects || one.name;
        end loop;
    end loop;
end $$;

-- True if the key has a type of its own, whose code may be what is slow; else its webhooks are queued in a pause.
create or replace function pgembedd_internal._has_key_of_owner(pipeline pgembedd_internal.pipeline) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (
        select from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = pipeline.source and a.attname = any (pipeline.key_columns)
          and (t.typtype <> 'b' or t.typnamespace <> 'pg_catalog'::regnamespace))
$$;

-- Notes that the keys of such rows took longer than `timeout_s` (note_slow).
create or replace function pgembedd_internal.note_slow_change(change jsonb, timeout_s double precision) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select note_slow(p.id, timeout_s, timeout_s, false)
    from pipeline p join pg_class c on p.source in (c.oid, pg_partition_root(c.oid))
    join pg_namespace s on s.oid = c.relnamespace
    where c.relname = change ->> 'table' and s.nspname = change ->> 'schema'
$$;
comment on function pgembedd_internal.note_slow_change is
    'Note the same for the pipelines of the table that a webhook names, whose key took too long.';

create or replace function pgembedd_internal._check_webhook(change jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing text;
begin
    if jsonb_typeof(change) is distinct from 'object' then
        raise exception using message = 'The webhook is not an object.',
            hint = 'It has type, schema, table, record and old_record.', errcode = 'invalid_parameter_value';
    elsif jsonb_typeof(change -> 'schema') is distinct from 'string'
          or jsonb_typeof(change -> 'table') is distinct from 'string' then
        raise exception using message = 'The webhook does not name its table.',
            hint = 'It has schema and table, both strings.', errcode = 'invalid_parameter_value';
    elsif coalesce(change ->> 'type', '') not in ('INSERT', 'UPDATE', 'DELETE') then
        raise exception using message = 'The type of the webhook is none of INSERT, UPDATE and DELETE.',
            errcode = 'invalid_parameter_value';
    end if;
    select string_agg(format('"%s"', r.name), ', ') into missing
    from (values ('record', 'DELETE'), ('old_record', 'INSERT')) as r(name, without)
    where r.without <> change ->> 'type' and jsonb_typeof(change -> r.name) is distinct from 'object';
    if missing is not null then
        raise exception using message = format('A webhook of type %s has %s, an object.', change ->> 'type', missing),
            errcode = 'invalid_parameter_value';
    end if;
end $$;

-- True if an UPDATE changes nothing that the pipeline watches. Our own store fires the webhook, too, and must not be
-- answered by another; so a vector that was changed counts only where it is gone. What is missing counts as changed. As
-- text, since 1.0 and 1.00 are equal numbers, but not the same content.
create or replace function pgembedd_internal._is_unwatched(
    pipeline pgembedd_internal.pipeline, change jsonb
) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select change ->> 'type' = 'UPDATE' and cardinality(pipeline.watch_columns) > 0
       and not exists (
           select from unnest(pipeline.watch_columns || pipeline.key_columns) as c(name)
           where (change -> 'record' -> c.name)::text is distinct from (change -> 'old_record' -> c.name)::text
              or not change -> 'record' ? c.name)
       and (pipeline.embedding_column is null
           or coalesce(change -> 'record' -> pipeline.embedding_column, 'null') <> 'null'
            or coalesce(change -> 'old_record' -> pipeline.embedding_column, 'null') = 'null')
$$;

-- The key of a posted record in the form that jobs have. It goes through the types of the key's columns, which is the
-- table owner's code (a domain's check), so through the owner's function; and what that says of a value stays here.
create or replace function pgembedd_internal._webhook_key(
    pipeline pgembedd_internal.pipeline, change jsonb, which text
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing text;
    given jsonb;
    key jsonb;
begin
    select string_agg(format('"%s"', k), ', ') filter (where coalesce(change -> which -> k, 'null') = 'null'),
           jsonb_object_agg(k, change -> which -> k)
        into missing, given from unnest(pipeline.key_columns) as k;
    if missing is not null then
        raise exception using
            message = format('The %s of the webhook has no %s, which is in the primary key of %s.', which, missing,
            pipeline.source_name),
            hint = 'Have the webhook send the whole row.', errcode = 'invalid_parameter_value';
    end if;
    begin
        key := _ask_named(pipeline, 'key', given);
    exception when data_exception or integrity_constraint_violation or plpgsql_error then key := null;
    end;
    if key is null then
        raise exception using message = format('The %s of the webhook has a key that no row of %s can have.', which,
            pipeline.source_name), errcode = 'invalid_parameter_value';
    end if;
    return key;
end $$;
