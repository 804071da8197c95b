-- The sources of a claimed answer, which are read with code of a table's owner: in a statement of its own, which a
-- worker limits. `outcome` is `read`, or why there are none: `dead`, `waits` (postpone_answer) or `lost`. The row of
-- the answer is not locked meanwhile, as its asker may stop it.
create or replace function pgembedd_internal.read_answer(answer uuid, attempt integer)
returns table (outcome text, sources jsonb)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    one pgembedd_internal.answer;
    problem text;
begin
    outcome := 'lost';
    select a.* into one from answer a
    where a.id = answer and a.attempt = read_answer.attempt and a.status = 'generating';
    if found then
        begin
            sources := _current_sources(one);
            outcome := case when sources is null then 'dead' else 'read' end;
            problem := 'The rows that it was to be answered from are gone or have other texts by now; ask again.';
        exception when others or assert_failure then
            problem := 'The rows that it was to be answered from cannot be read.';
            outcome := case when sqlstate = '55P03'  -- lock_not_available
                              or sqlstate = '42P01' and one.asked_at > clock_timestamp() - interval '5 minutes'
                                 and exists (select from pipeline p join pg_class c on c.oid = p.source
                                             where p.name = one.pipeline)  -- renamed, which the upkeep follows
                            then 'waits' else 'dead' end;
        end;
        if outcome = 'waits' then
            outcome := postpone_answer(answer, attempt, 'Its table is locked or was renamed.');
        elsif outcome = 'dead' then
            outcome := fail_answer(answer, attempt, problem, permanent => true);
        end if;
    end if;
    return next;
end $$;
comment on function pgembedd_internal.read_answer is
    'What the prompt of a claimed answer is made of, as far as its rows are as they were; touches its table.';

-- The sources whose rows are there and have the texts that they had when they were found; null where none has. No model
-- is shown what was deleted or changed while the question waited. The rows are read as their owner: what a policy hides
-- from the asker by now is not known here. Dropping a pipeline deletes its answers.
create or replace function pgembedd_internal._current_sources(one pgembedd_internal.answer) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'  -- others wait for it
set datestyle = 'ISO' set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = '1'
set bytea_output = 'hex'
as $$
declare
    made pgembedd_internal.pipeline;
    found_ones jsonb;
    given jsonb;
begin
    select p.* into made from pipeline p where p.name = one.pipeline;
    select jsonb_agg(jsonb_build_object('n', s.n, 'title', s.title, 'excerpt', s.excerpt) order by s.n),
           jsonb_build_object('keys', jsonb_agg(s.key order by s.n), 'hashes', jsonb_agg(s.texts_hash order by s.n))
    into found_ones, given
    from answer_source s where s.answer = one.id;
    if made.id is null or found_ones is null then return found_ones; end if;
    return (select jsonb_agg(found_ones -> (p.place::integer - 1) order by p.place::integer)
            from jsonb_array_elements_text(_ask_named(made, 'same texts', given)) as p(place));
end $$;
