create or replace view pgembedd.dead_letters as
select p.name as pipeline, pgembedd_internal._shown(d.key) as key, d.reason, d.error, d.attempts, d.history,
       d.enqueued_at, d.died_at, d.queue, pgembedd_internal._shown(d.message) as message
from pgembedd_internal.dead_letter d left join pgembedd_internal.pipeline p on p.id = d.pipeline_id;
comment on view pgembedd.dead_letters is 'Dead letters with their reasons; retry_dead_letters() queues them again.';
