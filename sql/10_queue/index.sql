-- Claims go round the pipelines, so a queue is ordered by pipeline first (docs/decisions/0006): a million messages of
-- one pipeline delay no other, and those of a pipeline that does not run are stepped over. Then by vt, not by msg_id:
-- what is under a lease or waits for another attempt lies behind what can be claimed, however much of it there is.

-- The pipeline of the message of `q`, for format(): empty where it names none. Cut, because every message has to fit
-- into the index.
create or replace function pgembedd_internal._pipeline_key() returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select $q$("left"(coalesce(q.message ->> 'pipeline', ''), 20) collate "C")$q$ $$;

-- The condition that the message of `q` is a job of that pipeline.
create or replace function pgembedd_internal._is_for(pipeline_id integer) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('%s = %L', _pipeline_key(), pipeline_id) $$;

-- pgmq's own index by vt serves none of our statements and costs each of them a write: ours takes its place.
create or replace function pgembedd_internal._ensure_queue_index(queue text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    name text := format('q_%s_by_pipeline', queue);
    statement text := format('create index %I on %s (%s, vt)', name, _queue_table(queue),
        replace(_pipeline_key(), 'q.message', 'message'));
    ours boolean := pg_has_role(_owner(_queue_table(queue)::regclass)::oid, 'usage');
    index_by_vt regclass;
begin
    if to_regclass(format('pgmq.%I', name)) is null then
        if not ours then
            raise exception 'The queue "%" belongs to another role, so its index is to be made by that one.', queue
                using errcode = 'insufficient_privilege', hint = format('Have an administrator run: %s.', statement);
        end if;
        execute statement;
    end if;
    for index_by_vt in
        select i.indexrelid from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'vt'
        where i.indrelid = _queue_table(queue)::regclass and i.indkey::text = a.attnum::text and i.indpred is null
          and ours
    loop
        execute format('drop index %s', index_by_vt);
    end loop;
end $$;
