create or replace view pgembedd.truncated as
select p.name as pipeline, pgembedd_internal._shown(r.key) as key, r.dropped_tokens, r.since
from pgembedd_internal.row_state r join pgembedd_internal.pipeline p on p.id = r.pipeline_id
where r.state = 'truncated';
comment on view pgembedd.truncated is
    'Rows whose text was longer than the model reads: how many tokens have no part in the vector, and since when.';
