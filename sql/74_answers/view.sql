-- What the caller asked, or is shared with it. The condition stands here, as a view reads with the rights of its owner.
create or replace view pgembedd.answers with (security_barrier) as
    select a.id, a.thread, a.pipeline, a.question, a.model, a.status, a.attempt,
           coalesce(a.answer, (
               select string_agg(e.data ->> 'text', '' order by e.seq) from pgembedd.answer_event e
               where e.answer = a.id and e.event = 'delta' and e.attempt = a.attempt)) as answer,
           a.reason, a.citations, a.usage, a.asked_at, a.finished_at
    from pgembedd.answer a join pgembedd.answer_thread t on t.id = a.thread
    where t.role = current_user and t.subject = pgembedd._subject()
       or exists (select from pgembedd.thread_member m
                  where m.thread = t.id and m.role = current_user and m.subject = pgembedd._subject());
comment on view pgembedd.answers is
    'The answers that the caller asked for, and those of threads that are shared with it, with their text so far.';

-- As the caller: a source that it may not read, or that is gone, is not there, and neither is an excerpt of columns
-- that it may not read.
create or replace function pgembedd.answer_sources(answer uuid) returns table (
    n integer, pipeline text, key jsonb, title text, url text, excerpt text, score double precision)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
declare
    target jsonb;
    readable boolean;
begin
    target := (select _search_target(a.pipeline, null) from answer a where a.id = $1);
    if target is null then return; end if;
    readable := (select bool_and(has_column_privilege((target ->> 'source_oid')::oid, c, 'select'))
                 from jsonb_array_elements_text(target -> 'text_columns') c);
    return query execute _render($q$
        select i.n, i.pipeline, i.key, case when $2 then i.title end, i.url, case when $2 then i.excerpt end, i.score
        from pgembedd.answer_source i cross join lateral {key_record} join {source} s on {is_source_row}
        where i.answer operator(pg_catalog.=) $1 order by i.n
        $q$, target) using answer, readable;
exception when insufficient_privilege then return;
end $$;
comment on function pgembedd.answer_sources is
    'The sources of an answer that the caller may still read, with the numbers by which it cites them.';
