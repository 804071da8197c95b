-- The two pgmq queues of pgembedd: pgembedd_fresh for changes of rows, pgembedd_backfill for the rest.
-- pgmq's own functions delete and delay a message by its id alone, so after a lease has run out they would act on
-- another worker's claim; ours are fenced on (msg_id, read_ct). They name columns and use nothing newer than pgmq
-- 1.4.4.

create or replace function pgembedd_internal._queues() returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select '{pgembedd_fresh,pgembedd_backfill}'::text[] $$;

-- The name comes from the caller of a worker's function, who must reach no other queue of pgmq with it.
create or replace function pgembedd_internal._queue_table(queue text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if queue is distinct from 'pgembedd_fresh' and queue is distinct from 'pgembedd_backfill' then
        raise exception 'pgembedd has no queue %.', coalesce(quote_literal(queue), 'NULL')
            using errcode = 'undefined_object', hint = 'There are pgembedd_fresh and pgembedd_backfill.';
    end if;
    return 'pgmq.q_' || queue;
end $$;

create or replace function pgembedd_internal._ensure_queue(queue text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    missing text;
begin
    if to_regclass(_queue_table(queue)) is null then
        begin
            perform pgmq.create(queue);
        exception when insufficient_privilege then
            -- Before 1.6, pgmq makes each queue part of the extension, which only the extension's owner may do.
            raise exception 'the role % may not create the queue "%" (%)', quote_ident(current_user), queue, sqlerrm
                using errcode = 'insufficient_privilege', hint = format(
                    'Have an administrator run: select pgmq.create(%L); alter table pgmq.q_%s owner to %I;',
                    queue, queue, current_user);
        end;
        perform _grant_queues(_runner());
        update installation set created_queues = created_queues || queue where not queue = any (created_queues);
    end if;
    select string_agg(c.name, ', ') into missing
    from unnest(array['msg_id', 'read_ct', 'enqueued_at', 'vt', 'message']) as c(name)
    where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(_queue_table(queue)) and a.attname = c.name and not a.attisdropped);
    if missing is not null then
        raise exception 'the pgmq queue "%" has no column %', queue, missing using errcode = 'feature_not_supported',
            hint = 'pgembedd needs pgmq 1.4.4 or newer.';
    end if;
    perform _ensure_queue_index(queue);
end $$;
