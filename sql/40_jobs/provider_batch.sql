-- Batches of a provider, which answers within a day for half the price. A row is there before its batch, and tells
-- until its jobs are done which texts are paid for. The jobs are released until the batch has ended, all but the first
-- one for longer than that takes: the worker that claims the first one asks the provider how the batch is.

-- Notes that the texts of these jobs of the backfill queue are about to be sent. The id goes with the batch, so that it
-- is found again if this is all that is known of it. Forgets batches whose jobs have long been done.
create or replace function pgembedd_internal.begin_provider_batch(pipeline_id integer, msg_ids bigint[]) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    made uuid;
begin
    delete from provider_batch b where b.made_at < clock_timestamp() - interval '7 days';
    insert into provider_batch (pipeline_id, msg_ids) values (pipeline_id, msg_ids) returning id into made;
    return made;
end $$;
comment on function pgembedd_internal.begin_provider_batch is
    'Note that the texts of these jobs are about to be sent to their provider as a batch. Returns its id.';

-- The batches that have texts of these jobs. `&&` would compare each job of each batch with each of these, as would a
-- nested loop.
create or replace function pgembedd_internal.provider_batches(pipeline_id integer, msg_ids bigint[])
returns table (id uuid, batch text, output text, msg_ids bigint[], age_s double precision)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_nestloop = off
as $$
    select b.id, b.batch, b.output, b.msg_ids, extract(epoch from clock_timestamp() - b.made_at)::double precision
    from provider_batch b
    where b.pipeline_id = $1 and b.id in (
        select x.id from provider_batch x cross join unnest(x.msg_ids) as m(id) join unnest($2) as asked(id)
            on asked.id = m.id
        where x.pipeline_id = $1)
    order by b.made_at
$$;
comment on function pgembedd_internal.provider_batches is
    'The batches of the provider that have texts of these jobs.';

-- Notes the provider's name of a batch, and, once it has ended, of the file with its vectors: its jobs, those that are
-- leased apart, are due then. One that gives none is forgotten, and its jobs are due `lost_s` seconds later.
create or replace function pgembedd_internal.note_provider_batch(
    id uuid, batch text default null, output text default null, lost_s double precision default null
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    noted pgembedd_internal.provider_batch;
begin
    update provider_batch b
    set batch = coalesce(note_provider_batch.batch, b.batch), output = note_provider_batch.output
    where b.id = $1 returning b.* into noted;
    if num_nonnulls(noted.output, lost_s) > 0 then
        execute format($q$
            update %s q set vt = clock_timestamp() + make_interval(secs => $2)
            where q.msg_id = any ($1) and q.vt > clock_timestamp()
              and pgembedd_internal._note(q.message, 'answered') = q.read_ct
            $q$, _queue_table('pgembedd_backfill')) using noted.msg_ids, coalesce(lost_s, 0);
        perform _wake('pgembedd_backfill');
    end if;
    delete from provider_batch b where b.id = $1 and lost_s is not null;
end $$;
comment on function pgembedd_internal.note_provider_batch is
    'Note a batch''s name at the provider and, once it has ended, the file of its vectors: its jobs are due then.';
