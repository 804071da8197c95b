-- name: claim_answers
-- Take questions under a lease, none of those that this worker has: slow ones, or the others.
select id, attempt, pipeline, model, question, history
from pgembedd_internal.claim_answers(%(at_most)s, %(lease_s)s, has => %(has)s::uuid[], slow => %(slow)s)
where pgembedd_internal.interface({interface} => true)

-- name: read_answer
-- What the prompt of a claimed question is made of; touches its table.
select r.outcome, r.sources from pgembedd_internal.read_answer(%(answer)s, %(attempt)s) r

-- name: postpone_answer
-- Put a question back whose rows were not read in time.
select pgembedd_internal.postpone_answer(%(answer)s, %(attempt)s, %(message)s, %(most)s)

-- name: extend_answers
-- Keep answers for another lease; the ids that are still ours come back.
select pgembedd_internal.extend_answers(%(answers)s::uuid[], %(attempts)s::integer[], %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: write_answers
-- Append events of any number of answers; the ids that are still ours come back.
select pgembedd_internal.write_answers(
    %(answers)s::uuid[], %(attempts)s::integer[], %(events)s::text[], %(data)s::jsonb[])
where pgembedd_internal.interface({interface} => true)

-- name: finish_answer
-- Store a whole answer with its last events, both or neither.
select pgembedd_internal.finish_answer(%(answer)s, %(attempt)s, %(status)s, %(content)s, %(citations)s::integer[],
                              %(events)s::text[], %(data)s::jsonb[])
where pgembedd_internal.interface({interface} => true)

-- name: fail_answer
-- End an attempt: retry later, or fail the answer.
select pgembedd_internal.fail_answer(%(answer)s, %(attempt)s, %(message)s, %(permanent)s, %(delay_s)s)

-- name: release_answers
-- Give questions back unanswered; no failure.
select pgembedd_internal.release_answers(%(answers)s::uuid[], %(attempts)s::integer[])

-- name: hear_answers
-- Hear when an answer has something new. The payload is its id.
listen pgembedd_answers

-- name: ask
-- Searches as the caller and queues the answer.
select pgembedd.ask({arguments}) as id

-- name: answer
-- What the caller may see of an answer; no row for one of others.
select a.id, a.thread, a.pipeline, a.question, a.language_model, a.status, a.attempt, a.answer, a.reason,
       coalesce((select e.data operator(pg_catalog.->) 'notes'::pg_catalog.text from pgembedd.answer_events e
                 where e.answer operator(pg_catalog.=) a.id and e.event operator(pg_catalog.=) 'done'
                 order by e.seq desc limit 1), '[]'::pg_catalog.jsonb) as notes
from pgembedd.answers a where a.id operator(pg_catalog.=) %(id)s

-- name: answers_before
-- What was asked in the thread of an answer before it, as far as the caller may see it, the oldest first.
select b.id, b.question, b.status, b.answer
from pgembedd.answers a join pgembedd.answers b
    on b.thread operator(pg_catalog.=) a.thread and b.asked_at operator(pg_catalog.<) a.asked_at
where a.id operator(pg_catalog.=) %(id)s order by b.asked_at

-- name: stop_answer
-- Stops an answer of the caller's; what was written stays.
select pgembedd.stop_answer(%(id)s) as stopped

-- name: answer_is_untaken
-- Whether no worker takes a question that is queued, and none is busy with another one.
select pgembedd_internal._is_untaken(%(id)s) as untaken

-- name: answer_events
-- What happened to some answers since an event of each, in texts.
select e.answer::pg_catalog.text, e.seq::pg_catalog.text, e.event, e.data::pg_catalog.text
from rows from (pg_catalog.unnest(%(answers)s::pg_catalog.uuid[]),
                pg_catalog.unnest(%(after)s::pg_catalog.int4[])) as w(answer, after)
join pgembedd.answer_events e on e.answer operator(pg_catalog.=) w.answer and e.seq operator(pg_catalog.>) w.after
order by e.answer, e.seq

-- name: answer_sources
-- The sources of an answer that the caller may still read.
select s.n, s.pipeline, s.key, s.title, s.url, s.excerpt, s.score, s.place
from pgembedd.answer_sources(%(id)s) s order by s.n

-- name: asked_pipelines
-- What the caller may ask questions about.
select p.pipeline from pgembedd.search_pipelines() p
where exists (select from pg_catalog.pg_proc f where f.proname operator(pg_catalog.=) 'ask'
                and f.pronamespace operator(pg_catalog.=) 'pgembedd'::pg_catalog.regnamespace
                and pg_catalog.has_function_privilege(f.oid, 'execute'))
order by p.pipeline
