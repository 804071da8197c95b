create or replace view pgembedd.failures as
select p.name as pipeline, pgembedd._shown(d.key) as key, d.reason, d.error, d.attempts, d.history, d.enqueued_at,
       d.died_at, d.queue, pgembedd._shown(d.message) as message
from pgembedd.dead_letter d left join pgembedd.pipeline p on p.id = d.pipeline_id;
comment on view pgembedd.failures is 'Dead letters with their reasons; retry_failed() puts them back.';
