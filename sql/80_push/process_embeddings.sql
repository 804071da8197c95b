-- Called by pg_cron: claims jobs, for as long as their requests may take, and posts them in batches. A job without an
-- answer is due again when its lease expires; the upkeep reads the answers. Returns how many jobs were posted.
create or replace function pgembedd.process_embeddings(
    batch_size integer default 10, max_requests integer default null, timeout_milliseconds integer default 5 * 60 * 1000
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    target pgembedd_internal.push;
    jobs jsonb;
    posted bigint[];
begin
    select p.* into target from push p;
    if target.url is null then
        raise exception using message = 'There is no URL to push jobs to.',
            hint = 'Name one: select pgembedd.set_push(''https://.../functions/v1/embed'').',
            errcode = 'object_not_in_prerequisite_state';
    elsif not _has_pg_net() then
        raise exception using message = 'pg_net is not installed in this database.',
            hint = 'CREATE EXTENSION pg_net; or run workers that pull: `pgembedd run`.',
            errcode = 'object_not_in_prerequisite_state';
    elsif not has_schema_privilege('net', 'usage') then
        raise exception using message = format('%s may not use pg_net.', quote_ident(current_user)),
            hint = format('As an administrator: GRANT USAGE ON SCHEMA net TO %I;', current_user),
            errcode = 'insufficient_privilege';
    elsif batch_size is null or batch_size not between 1 and 1000 or max_requests not between 1 and 1000 then
        raise exception using
            message = format('%s requests of %s jobs are not to be had.', coalesce(max_requests::text, 'Some'),
            coalesce(batch_size::text, 'NULL')),
            hint = 'Take 1 to 1000 of each.', errcode = 'invalid_parameter_value';
    elsif timeout_milliseconds is null or timeout_milliseconds < 1000 then
        raise exception using
            message = format('%s milliseconds are too short a time.', coalesce(timeout_milliseconds::text, 'NULL')),
            hint = 'Take 1000 or more.', errcode = 'invalid_parameter_value';
    end if;
    select jsonb_agg(j) into jobs
    from _claim_for_push(coalesce(batch_size * max_requests, target.batch_size), timeout_milliseconds / 1000) j;
    if jobs is null then return 0; end if;
    posted := array(select net.http_post(
        url => target.url, body => b.batch, timeout_milliseconds => process_embeddings.timeout_milliseconds,
        headers => jsonb_strip_nulls(jsonb_build_object('Content-Type', 'application/json', 'Authorization',
            'Bearer ' || target.token)))
    from (select jsonb_agg(j.job order by j.nth) as batch from jsonb_array_elements(jobs) with ordinality as j(job, nth)
          group by (j.nth - 1) / batch_size order by (j.nth - 1) / batch_size) b);
    update push p set requests = (p.requests || posted)[greatest(cardinality(p.requests || posted) - 999, 1):];
    return jsonb_array_length(jobs);
end $$;
comment on function pgembedd.process_embeddings is
    'Post waiting jobs to the URL of set_push(), in requests of `batch_size`, through pg_net. Returns how many.';

-- Changes before backfills, for which a quarter of the places is kept; each pipeline gets its part. Of a pipeline that
-- no worker can serve, or that is slow, one job of each lane is posted, which finds out whether that is still so.
create or replace function pgembedd_internal._claim_for_push(places integer, lease_s integer) returns setof jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one record;
    left_over integer := places;
    ids bigint[];
begin
    for one in
        with waiting as materialized (
            select d.*, p.slow_until is not null or _unserved(p) is not null as unserved, random() as turn
            from due() d join pipeline p on p.id = d.pipeline_id), rounds(round, queue, kept) as (
            values (1, 'pgembedd_fresh', places / 4), (2, 'pgembedd_backfill', 0), (3, 'pgembedd_fresh', 0))
        select w.pipeline_id, w.unserved, r.queue,
               case when exists (select from waiting b where b.queue = 'pgembedd_backfill')
                    then r.kept else 0 end as kept,
               count(*) over (partition by r.round)
                   - row_number() over (partition by r.round order by w.turn) + 1 as others
        from rounds r join waiting w using (queue)
        where not w.unserved or r.round < 3 order by r.round, w.turn
    loop
        continue when left_over <= one.kept;
        ids := array(select c.msg_id from claim(
            one.pipeline_id, one.queue,
            case when one.unserved then 1 else ceil((left_over - one.kept)::numeric / one.others)::integer end,
            lease_s) c);
        return query execute format($q$
            update %1$s q set message = pgembedd_internal._with_notes(q.message, jsonb_build_object(
                'sent', q.read_ct, 'deferrals', pgembedd_internal._note(q.message, 'deferrals') + 1))
            where q.msg_id = any ($1)
            returning q.message - '{imported,pgembedd}'::text[]
                || jsonb_build_object('jobId', q.msg_id, 'queue', %2$L, 'readCt', q.read_ct)
            $q$, _queue_table(one.queue), one.queue) using ids;
        left_over := left_over - cardinality(ids);
        if ids <> '{}' then
            perform end_turn(one.pipeline_id);  -- the turn is that of the worker that it is posted to
        end if;
    end loop;
end $$;
