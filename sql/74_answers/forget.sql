-- Answers whose time is over, with their sources and events, and conversations of which nothing is left.
create or replace function pgembedd._forget_answers() returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = on
as $$
begin
    delete from answer a where a.keep_until < clock_timestamp();
    if found then
        delete from answer_thread t where not exists (select from answer a where a.thread = t.id)
            and t.began_at < clock_timestamp() - interval '1 day';
    end if;
end $$;

-- The excerpts of rows that are gone. Viewers do not see them from the moment on when the row went (answer_sources).
create or replace function pgembedd._forget_gone_sources(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
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
        perform pgembedd._check_session();
        delete from answer_source s where s.pipeline = $1.name and s.key = any (gone);
    end loop;
end $$;
