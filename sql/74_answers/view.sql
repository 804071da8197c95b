-- What the caller asked, or is shared with it. The condition stands here, as a view reads with the rights of its owner.
create or replace view pgembedd.answers with (security_barrier) as
    select a.id, a.thread, a.pipeline, a.question, a.language_model, a.status, a.attempt,
           coalesce(a.answer, (
               select string_agg(e.data ->> 'text', '' order by e.seq) from pgembedd.answer_events e
               where e.answer = a.id and e.event = 'delta' and e.attempt = a.attempt)) as answer,
           a.reason, a.citations, a.usage as tokens, a.asked_at, a.finished_at
    from pgembedd_internal.answer a join pgembedd_internal.answer_thread t on t.id = a.thread
    where t.role = current_user and t.subject = pgembedd_internal._subject()
       or exists (select from pgembedd_internal.thread_member m
                  where m.thread = t.id and m.role = current_user and m.subject = pgembedd_internal._subject());
comment on view pgembedd.answers is
    'The answers that the caller asked for, and those of threads that are shared with it, with their text so far.';

-- An answer as a viewer of it sees it, whatever row_security the session has.
create or replace function pgembedd_internal._answer_state(answer uuid) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
    select jsonb_build_object(
        'id', a.id, 'thread', a.thread, 'status', a.status, 'answer', a.answer, 'reason', a.reason,
        'citations', a.citations, 'finished_at', a.finished_at, 'notes', (
            select e.data -> 'notes' from answer_events e where e.answer = a.id and e.event = 'done'
            order by e.seq desc limit 1))
    from answers a where a.id = $1
$$;

-- Which of the rows the caller may read, a hash of the texts that excerpts are of, if it may read those, and the
-- columns for titles and links that it may read. As the caller.
create or replace function pgembedd_internal._readable_rows(pipeline text, keys jsonb[])
returns table (key jsonb, hash bigint, named jsonb)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set extra_float_digits = '1'  -- a key goes through JSON, and the hash is one of texts in any session
set datestyle = 'ISO' set intervalstyle = 'postgres' set timezone = 'UTC' set bytea_output = 'hex'
as $$
declare
    target constant pgembedd_internal._search_target := _search_target(pipeline, null, false);
    settings answer_settings;
begin
    select s.* into settings from answer_settings s where s.pipeline = target.name;
    return query execute _render($q$
        select distinct i.key, {hash}, pg_catalog.jsonb_build_object({named})
        from pg_catalog.unnest($1) as i(key) {row_of_key}
        $q$, jsonb_build_object('row_of_key', target.row_of_key, 'hash', _texts_hash(target), 'named', (
            select string_agg(format('%1$L, s.%1$I::pg_catalog.text', c.name), ', ')
            from _search_columns(target.source) c
            where c.name = settings.title_column or c.name in (select _url_columns(settings.url_template))
               or target.pages and c.name = 'headings')))
    using keys;
exception when insufficient_privilege then return;
end $$;

-- An expression over the row `s`; null where the caller may not read all of the texts.
create or replace function pgembedd_internal._texts_hash(target pgembedd_internal._search_target) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when bool_and(has_column_privilege(target.source, c.name, 'select'))
                then _hash_of_texts(array_agg(c.name order by c.nth))
                else 'null::pg_catalog.int8' end
    from unnest(target.text_columns) with ordinality as c(name, nth)
$$;

-- An expression over the row `s`; null where there are no columns.
create or replace function pgembedd_internal._hash_of_texts(columns text[]) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('pg_catalog.jsonb_hash_extended(pg_catalog.jsonb_build_array(%s), 0)',
                  string_agg(format('s.%I::pg_catalog.text', c.name), ', ' order by c.nth))
    from unnest(columns) with ordinality as c(name, nth)
    having count(*) > 0
$$;

create or replace view pgembedd_internal._readable_sources with (security_barrier) as
    select i.answer, i.n, i.pipeline, i.key, coalesce(
               pgembedd_internal._answer_title(r.named ->> s.title_column),
               case when r.hash = i.texts_hash
                    then pgembedd_internal._answer_title(coalesce(p.place ->> 'text', i.excerpt)) end) as title,
           pgembedd_internal._answer_url(s.url_template, r.named) as url,
           case when r.hash = i.texts_hash then i.excerpt end as excerpt, i.score, p.place
    from pgembedd.answers a
    left join pgembedd_internal.answer_settings s on s.pipeline = a.pipeline
    cross join lateral pgembedd_internal._readable_rows(
        a.pipeline, array(select s.key from pgembedd_internal.answer_source s where s.answer = a.id)) r
    join pgembedd_internal.answer_source i on i.answer = a.id and i.key = r.key
    cross join lateral (
        select case when r.hash = i.texts_hash and r.named ? 'headings' then i.place end as place) p;
comment on view pgembedd_internal._readable_sources is
    'The sources of answers that the caller may still read; the table also has excerpts of rows that an asker may not.';

create or replace function pgembedd.answer_sources(answer uuid) returns table (
    n integer, pipeline text, key jsonb, title text, url text, excerpt text, score double precision,
    place jsonb)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
    select s.n, s.pipeline, s.key, s.title, s.url, s.excerpt, s.score, s.place
    from _readable_sources s where s.answer = $1 order by s.n
$$;
comment on function pgembedd.answer_sources is
    'The sources of an answer that the caller may still read, with the numbers by which it cites them.';
