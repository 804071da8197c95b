-- Deletes activity and samples over a day old, and the states of rows that are gone; these of a thousand pipelines at
-- most, whichever, as it holds locks on the tables of each until it commits.
create or replace function pgembedd.retention() returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd_internal.pipeline;
    keys jsonb[];
    gone jsonb[];
    total bigint;
begin
    delete from activity a where a.at < clock_timestamp() - interval '1 day';
    get diagnostics total = row_count;
    delete from sample s where s.at < clock_timestamp() - interval '1 day';
    delete from provider_use u where u.day < _day() - 31;
    for one in
        select p.* from (select p.* from pipeline p where p.state = 'running' and not _without_upkeep(p)
                         order by random() limit 1000) p
        order by p.id
    loop
        perform _upkeep_at(one.id);
        begin
            -- Rows that went in a way that no trigger saw, or whose deleter could not see the newest chunks.
            perform _tidy(one), _tidy_words(one), _forget_gone_sources(one);
            for keys in
                select array_agg(b.key) from (
                    select n.key, row_number() over () / 10000 as batch from (
                        select r.key from row_state r where r.pipeline_id = one.id union
                        select f.key from fetched_file f where f.pipeline_id = one.id) n) b group by b.batch
            loop
                execute format('select array(select g from %s($1) g)', _pipeline_function(one.id, 'gone')) into gone
                    using keys;
                perform pgembedd_internal._check_session();
                total := total + _forget_exceptions(one.id, gone);
                perform _forget_fetched(one.id, gone);
            end loop;
        exception when others then  -- a lock, a dropped table
            raise warning 'retention left out the pipeline "%": %', one.name, sqlerrm;
        end;
    end loop;
    return total;
end $$;
comment on function pgembedd.retention is
    'Forget activity over a day old, and what is noted about rows that are gone, of a thousand pipelines '
    'at most. Returns how much.';
