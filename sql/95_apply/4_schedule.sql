-- Schedules maintenance with pg_cron, where this database has it. The functions decide themselves whether they are due,
-- so pg_cron without workers suffices, and so do workers without pg_cron. What another version scheduled would fail for
-- ever.
do $$
begin
    if to_regprocedure('cron.schedule(text, text, text)') is not null then
        perform cron.unschedule(j.jobid) from cron.job j
        where j.jobname like 'pgembedd-%' and j.database = current_database()
          and j.jobname not in ('pgembedd-tick', 'pgembedd-push') and j.jobname not like 'pgembedd-index-%';
        perform cron.schedule('pgembedd-tick', '* * * * *', 'select pgembedd.tick()');
    end if;
    perform pgembedd_internal._schedule_push();
exception when insufficient_privilege then
    raise notice 'pg_cron is here, but this role may not schedule; the workers do the upkeep';
end $$;
