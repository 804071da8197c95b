create or replace function pgembedd.set_push(
    url text, token text default null, every text default '10 seconds', batch_size integer default 100
) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    perform _check_texts('{url,token,every}', array[url, token, every]);
    if url is null then
        delete from push;
        return _schedule_push();
    elsif url !~ E'^https?://[^/\\s]+(/\\S*)?$' then
        raise exception using message = format('%s is not the URL of an endpoint.', quote_literal(url)),
            hint = 'Write https://host/functions/v1/embed.', errcode = 'invalid_parameter_value';
    elsif url ~ '^https?://[^/]*@' then
        raise exception using message = 'The URL holds a password.',
            hint = 'Give it as token, which only the owner can read.', errcode = 'invalid_parameter_value';
    elsif token collate "C" ~ '[^!-~]' or token = '' then
        raise exception using message = 'The token has a character that no header may have, or none at all.',
            hint = 'Take letters, digits and signs.', errcode = 'invalid_parameter_value';
    elsif every is null or every !~ '^([1-9]|[1-5][0-9]) seconds?$' and every !~ E'^\\S+( \\S+){4}$' then
        raise exception using message = format('%s is no schedule of pg_cron.', coalesce(quote_literal(every), 'NULL')),
            hint = 'Take ''10 seconds'' (1 to 59), or five fields as in ''* * * * *''.',
            errcode = 'invalid_parameter_value';
    elsif batch_size is null or batch_size not between 1 and 10000 then
        raise exception using
            message = format('batch_size %s is out of range.', coalesce(batch_size::text, 'NULL')),
            hint = 'It is how many jobs are posted at a time, 1 to 10000.', errcode = 'invalid_parameter_value';
    end if;
    insert into push (url, token, every, batch_size)
    values (set_push.url, set_push.token, set_push.every, set_push.batch_size)
    on conflict (only_row) do update set url = excluded.url, token = excluded.token, every = excluded.every,
        batch_size = excluded.batch_size, requests = '{}', problem = null;
    return _schedule_push();
end $$;
comment on function pgembedd.set_push is
    'Post up to `batch_size` jobs to this URL from now on, as often as `every` '
    'says; null: no more. Returns how that stands, in a sentence.';

-- Schedules or unschedules the push as its table says. Also called by each migration: pg_cron and pg_net may have been
-- installed since.
create or replace function pgembedd_internal._schedule_push() returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    target pgembedd_internal.push;
    has_cron boolean;
    lacking text;
    job record;
    command constant text := 'select pgembedd.process_embeddings()';
begin
    select p.* into target from push p;
    has_cron := to_regclass('cron.job') is not null and to_regprocedure('cron.schedule(text, text, text)') is not null;
    lacking := _push_lacks(target.url, has_cron);
    if has_cron then
        for job in select j.jobid, j.username from cron.job j
            where j.jobname = 'pgembedd-push' and j.database = current_database() loop
            if lacking is not null then
                perform cron.unschedule(job.jobid);
            elsif job.username <> current_user then  -- only a superuser sees it, and may alter it
                perform cron.alter_job(job.jobid, schedule => target.every, command => command);
            end if;
        end loop;
    end if;
    if lacking is not null then return lacking; end if;
    if job is null or job.username = current_user then
        perform cron.schedule('pgembedd-push', target.every, command);
    end if;
    return format('pg_cron posts waiting jobs to %s (%s).', target.url, target.every);
exception when invalid_parameter_value then
    return format('No schedule was made: this pg_cron does not take %L, as versions before 1.5 take no seconds. '
                  'Call set_push() with every => ''* * * * *''.', target.every);
when insufficient_privilege then
    return format('Nothing is scheduled: %s may not use pg_cron here. Have a role '
                  'that may call: select cron.schedule(''pgembedd-push'', %L, %L).',
        quote_ident(current_user), coalesce(target.every, '10 seconds'), command);
end $$;

-- Why nothing is posted to this URL by a schedule, with the remedy; null where all that it takes is there.
create or replace function pgembedd_internal._push_lacks(url text, has_cron boolean) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case
        when url is null then 'Nothing is pushed.'
        when not has_cron and not _has_pg_net()
            then 'Nothing is pushed yet: neither pg_net nor pg_cron is in this '
                 'database. CREATE EXTENSION both, then run `pgembedd migrate`.'
        when not has_cron
            then 'Nothing is scheduled: pg_cron is not in this database. CREATE EXTENSION pg_cron and run '
                 '`pgembedd migrate`, or have pgembedd.process_embeddings() called by a schedule of yours.'
        when not _has_pg_net()
            then 'Nothing is pushed yet: pg_net is not in this database. '
                 'CREATE EXTENSION pg_net, then run `pgembedd migrate`.'
        when not has_schema_privilege('net', 'usage')
            then format('Nothing is pushed yet: %1$s may not use pg_net. As an administrator: GRANT USAGE ON SCHEMA '
                        'net TO %1$s; then run `pgembedd migrate`.', quote_ident(current_user)) end
$$;

-- True if net.http_post is pg_net's own, and not that of a schema with the same name: pg_cron runs it as our owner.
create or replace function pgembedd_internal._has_pg_net() returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (
        select from pg_proc f join pg_roles r on r.oid = f.proowner
        where f.oid = _function_of('net', 'http_post', 'text, jsonb, jsonb, jsonb, integer')
          and (r.rolsuper or r.rolname = current_user or exists (
               select from pg_depend d join pg_extension e on e.oid = d.refobjid
               where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.refclassid = 'pg_extension'::regclass
                 and d.deptype = 'e' and e.extname = 'pg_net')))
$$;
