-- Answers whose time is over, with their sources and events, and conversations of which nothing is left.
create or replace function pgembedd_internal._forget_answers() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
declare
    over uuid[];
begin
    -- What an asker holds, who goes on with a thread, is left for the next time.
    delete from answer a using (
        select f.id from answer f where f.keep_until < clock_timestamp() for update skip locked) f
    where a.id = f.id;
    if found then
        over := array(select t.id from answer_thread t where t.began_at < clock_timestamp() - interval '1 day'
                      and not exists (select from answer a where a.thread = t.id) for update skip locked);
        -- Looked at again, as a question may have come before the lock; none comes after it.
        delete from answer_thread t
        where t.id = any (over) and not exists (select from answer a where a.thread = t.id);
    end if;
end $$;

-- The excerpts of rows that are gone. Viewers do not see them from the moment on when the row went (answer_sources).
create or replace function pgembedd_internal._forget_gone_sources(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
declare
    keys jsonb[];
    gone jsonb[];
begin
    for keys in
        select array_agg(b.key) from (
            select k.key, row_number() over () / 10000 as batch
            from (select distinct s.key from answer_source s where s.pipeline = $1.name) k) b group by b.batch
    loop
        execute format('select array(select g from %s($1) g)', _pipeline_function($1.id, 'gone')) into gone using keys;
        perform pgembedd_internal._check_session();
        delete from answer_source s where s.pipeline = $1.name and s.key = any (gone);
    end loop;
end $$;
