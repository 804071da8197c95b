-- Whether a question has been due for some seconds, no worker has taken it, and none has shown itself: a worker lives
-- where an answer is under a lease, was finished a moment ago, or is soon to be tried again. One that is asked to stop
-- may be the worker's until its lease is over, as the worker finds out late while the language model says nothing. An
-- idle worker takes a question at once, as NOTIFY wakes it, or within two seconds behind a pooler. By our role, as a
-- caller does not see the answers of others.
create or replace function pgembedd_internal._is_untaken(answer uuid) returns boolean
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
    select exists (select from answer a
                   where a.id = _is_untaken.answer and a.status = 'queued'
                     and a.due_at < clock_timestamp() - interval '3 seconds')
       and not exists (select from answer b
                       where b.status in ('queued', 'generating') and b.attempt > 0 and b.due_at > clock_timestamp()
                         and (b.status = 'generating' or b.due_at < clock_timestamp() + interval '1 minute'))
       and not exists (select from answer b
                       where b.finished_at > clock_timestamp() - interval '1 minute' and b.attempt > 0
                         and (b.finished_at > clock_timestamp() - interval '3 seconds'
                              or b.status = 'stopped' and b.due_at > clock_timestamp()))
$$;
