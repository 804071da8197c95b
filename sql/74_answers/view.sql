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

-- Which of the rows the caller may read, and whether it may read the columns that excerpts are of. As the caller.
create or replace function pgembedd._readable_rows(pipeline text, keys jsonb[])
returns table (key jsonb, texts boolean)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON
as $$
declare
    target constant jsonb := _search_target(pipeline, null);
    readable boolean;
begin
    readable := (select bool_and(has_column_privilege((target ->> 'source_oid')::oid, c, 'select'))
                 from jsonb_array_elements_text(target -> 'text_columns') c);
    return query execute _render($q$
        select distinct i.key, $2 from pg_catalog.unnest($1) as i(key) cross join lateral {key_record}
        join {source} s on {is_source_row}
        $q$, target) using keys, readable;
exception when insufficient_privilege then return;
end $$;

create or replace view pgembedd._readable_sources with (security_barrier) as
    select i.answer, i.n, i.pipeline, i.key, case when r.texts then i.title end as title, i.url,
           case when r.texts then i.excerpt end as excerpt, i.score
    from pgembedd.answers a
    cross join lateral pgembedd._readable_rows(
        a.pipeline, array(select s.key from pgembedd.answer_source s where s.answer = a.id)) r
    join pgembedd.answer_source i on i.answer = a.id and i.key = r.key;
comment on view pgembedd._readable_sources is
    'The sources of answers that the caller may still read; the table also has excerpts of rows that an asker may not.';

create or replace function pgembedd.answer_sources(answer uuid) returns table (
    n integer, pipeline text, key jsonb, title text, url text, excerpt text, score double precision)
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select s.n, s.pipeline, s.key, s.title, s.url, s.excerpt, s.score
    from _readable_sources s where s.answer = $1 order by s.n
$$;
comment on function pgembedd.answer_sources is
    'The sources of an answer that the caller may still read, with the numbers by which it cites them.';
