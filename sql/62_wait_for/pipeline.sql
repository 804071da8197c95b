-- A procedure, because a function would look at one snapshot for ever. It has no SET clause, since such a
-- procedure may not COMMIT; hence all names are qualified.
create or replace procedure pgembedd.wait_for_pipeline(pipeline text, timeout interval default '1 minute')
language plpgsql
as $$
declare
    one pgembedd_internal.pipeline := pgembedd_internal._pipeline(pipeline);
    above pgembedd_internal.pipeline := pgembedd_internal._upstream(one);
    deadline pg_catalog.timestamptz := pg_catalog.clock_timestamp() operator(pg_catalog.+) timeout;
    began_at pg_catalog.timestamptz;
    look_again_at pg_catalog.timestamptz;
    job pg_catalog.record;
    ignored pg_catalog.text;
begin
    ignored := pgembedd_internal._check_wait(timeout);
    if above.id is not null then call pgembedd.wait_for_pipeline(above.name, timeout); end if;
    loop
        began_at := pg_catalog.clock_timestamp();
        select j.lane, j.msg_id into job from pgembedd_internal._last_job(one) j;
        exit when job.msg_id is null;
        -- To look through a queue full of others' jobs takes a while; no more than half of the time goes into that.
        look_again_at := pg_catalog.clock_timestamp()
            operator(pg_catalog.+) (pg_catalog.clock_timestamp() operator(pg_catalog.-) began_at);
        loop
            one := pgembedd_internal._pipeline(pipeline);
            if pgembedd_internal._shown_state(one) operator(pg_catalog.<>) 'running' then
                raise exception 'The pipeline "%" is %, with % waiting: %',
                    pipeline, pgembedd_internal._shown_state(one),
                    pgembedd_internal._counted(pgembedd_internal._job_count(one), 'job'),
                    pgembedd_internal._shown_reason(one)
                    using errcode = 'object_not_in_prerequisite_state';
            elsif pg_catalog.clock_timestamp() operator(pg_catalog.>) deadline then
                raise exception 'The pipeline "%" still has % waiting after %.',
                    pipeline, pgembedd_internal._counted(pgembedd_internal._job_count(one), 'job'), timeout
                    using errcode = 'query_canceled',
                        hint = 'See pgembedd.status and pgembedd.dead_letters; is a worker running?';
            end if;
            commit;
            perform pg_catalog.pg_sleep(0.1);
            exit when pg_catalog.clock_timestamp() operator(pg_catalog.>) look_again_at
                and not pgembedd_internal._any_queued(job.lane, array[job.msg_id]);
        end loop;
    end loop;
end $$;
comment on procedure pgembedd.wait_for_pipeline is
    'Wait until nothing of the pipeline is queued, nor of the one that fills its source; raises after the timeout, or '
    'when a pipeline does not run.';

-- The pipeline that fills the source of this one, or an empty row.
create or replace function pgembedd_internal._upstream(
    one pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select p from pipeline p where p.embedding_table = one.source $$;
