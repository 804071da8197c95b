-- Content that differs at every read, because it holds the time or a random number, would be embedded for ever. A row
-- that is updated many times a second looks alike, except that its columns change, too.

-- Content that depends on a column which a BEFORE trigger sets at every update would be embedded for ever.
create or replace function pgembedd_internal._stop_if_rewriting(
    queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    rounds integer;
begin
    if not outcomes && array['rewritten'] then return; end if;
    execute format(
        $q$select max(pgembedd_internal._note(q.message, 'rewritten')) from %s q where q.msg_id = any ($1)$q$,
        _queue_table(queue)) into rounds using msg_ids;
    if rounds >= 3 then
        perform stop_pipeline(pipeline_id,
            'The content changes each time its vector is written, because a BEFORE UPDATE trigger sets a '
            'column that the content uses: take that column out of the content, then call pgembedd.resume().');
    end if;
end $$;

-- Of the messages that were just released because their content had changed: records their rows' version from the
-- fourth time in a row on, a hash of the watched columns, and fails those that came to the twentieth, after about nine
-- minutes, with the row unchanged.
create or replace function pgembedd_internal._fail_nondeterministic(
    queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    job record;
    version text;
    same integer;
begin
    if not outcomes && array['changed'] then return; end if;
    for job in execute format($q$
        select q.msg_id, q.message -> 'id' as key, q.message from %s q
        where q.msg_id = any ($1) and pgembedd_internal._note(q.message, 'changed') > 3 order by q.msg_id
        $q$, _queue_table(queue)) using msg_ids
    loop
        if one.id is null then
            select p.* into one from pipeline p where p.id = _fail_nondeterministic.pipeline_id;
        end if;
        version := _ask_named(one, 'version', job.key) #>> '{}';
        same := case when job.message -> 'pgembedd' ->> 'version' = version and _note(job.message, 'changed') > 4
                     then _note(job.message, 'same') + 1 else 0 end;
        if same >= 16 then
            perform _dead_letter(queue, job.msg_id, one.id, 'unsteady_content',
                'The content was another one each of 20 times that it was embedded, though '
                'the row stayed as it was: it must not hold the time or random numbers.',
                _note(job.message, 'attempts'));
        else
            execute format('update %s q set message = pgembedd_internal._with_notes(q.message, $2) where q.msg_id = $1',
                _queue_table(queue))
            using job.msg_id, jsonb_build_object('version', version, 'same', same);
        end if;
    end loop;
end $$;
