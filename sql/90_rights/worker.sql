-- Nothing is granted to PUBLIC. A worker may call its functions and read no table; an operator sees the status and may
-- retry failed jobs.

create or replace function pgembedd.grant_worker(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    perform _check_role(role);
    perform _grant_names(role);  -- it hands over vectors
    perform _grant_functions(role, array(select f from _worker_functions() f));
end $$;
comment on function pgembedd.grant_worker is 'Give a role of yours what a worker needs, and nothing more.';

create or replace function pgembedd_internal._worker_functions() returns setof regprocedure
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = 'pgembedd'::regnamespace
      and f.proname in (
          'due', 'claim', 'claim_pushed', 'claim_changed', 'release_pushed', 'read', 'read_chunks', 'store',
          'store_chunks', 'fail', 'extend', 'release', 'mark_alone', 'pin_model', 'probe_model', 'note_unserved',
          'note_served', 'note_slow', 'note_slow_change', 'allowed_s', 'end_turn', 'use_provider',
          'correct_provider_use', 'diagnose', 'stop_pipeline', 'set_idle', 'models', 'tick', 'metrics', 'interface',
          'schema_version', 'events', 'heartbeat', 'workers', 'blocker', 'hear_embed_requests',
          'take_embed_requests', 'finish_embed_requests', 'decline_embed_request', 'claim_answers', 'extend_answers',
          'release_answers', 'read_answer', 'postpone_answer', 'write_answers', 'finish_answer', 'fail_answer')
$$;
