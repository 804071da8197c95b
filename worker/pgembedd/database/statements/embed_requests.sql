-- name: take_embed_requests
-- Texts that wait in embed() for their vectors.
select id, model, fingerprint, known, kind, content
from pgembedd_internal.take_embed_requests(%(at_most)s, %(worker)s, %(keeps_session)s)
where pgembedd_internal.interface({interface} => true)

-- name: finish_embed_requests
-- Their vectors, or why there is none.
select pgembedd_internal.finish_embed_requests(
    %(ids)s::uuid[], %(embeddings)s::{vector}[], %(refusals)s::text[], %(worker)s, %(keeps_session)s)
where pgembedd_internal.interface({interface} => true)

-- name: decline_embed_request
-- Leave it to another worker.
select pgembedd_internal.decline_embed_request(%(id)s, %(reason)s, %(worker)s)
