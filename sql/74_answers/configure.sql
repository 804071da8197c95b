-- All of the settings of a pipeline's answers; what is left out has its default again.
create or replace function pgembedd.configure_answers(
    pipeline text,
    model text default null,
    url_template text default null,
    title_column text default null,
    min_similarity double precision default null,
    keep interval default '30 days',
    models text[] default '{}'
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
set quote_all_identifiers = off
as $$
#variable_conflict use_variable
declare
    one pgembedd_internal.pipeline := _pipeline(pipeline);
    unknown text;
begin
    perform _check_texts('{model,url_template,title_column}', array[model, url_template, title_column]),
            _check_members('models', models);
    select c.name into unknown
    from (select title_column union all
          select _url_columns(url_template)) as c(name)
    where c.name is not null and not exists (
        select from pg_attribute a
        where a.attrelid = one.source and a.attname = c.name and a.attnum > 0 and not a.attisdropped)
    limit 1;
    if unknown is not null then
        raise exception using message = format('%s has no column "%s".', one.source, unknown),
            hint =
                'title_column is a column of the table; url_template names some in braces: https://example.com/{id}.',
            errcode = 'undefined_column';
    elsif url_template !~ '^https?://' then
        raise exception using message = format('%s is no URL.', quote_literal(url_template)),
            hint = 'It begins with https:// or http://.', errcode = 'invalid_parameter_value';
    elsif keep <= interval '0' or keep > interval '100 years' or keep is null then
        raise exception using message = 'keep is an interval above zero, of 100 years at most.',
            errcode = 'invalid_parameter_value';
    elsif _search_similarity_range(one.distance, min_similarity) is not null then
        raise exception using message = format('min_similarity %s is out of range.', min_similarity),
            hint = _search_similarity_range(one.distance, min_similarity), errcode = 'invalid_parameter_value';
    end if;
    insert into answer_settings
    values (one.name, model, url_template, title_column, min_similarity, keep, coalesce(models, '{}'))
    on conflict on constraint answer_settings_pkey do update
        set (model, url_template, title_column, min_similarity, keep, models) = row (excluded.model,
             excluded.url_template, excluded.title_column, excluded.min_similarity, excluded.keep, excluded.models);
end $$;
comment on function pgembedd.configure_answers is
    'Set how questions about a pipeline are answered: models, links and titles of sources, threshold, how long kept.';

-- With one user of another role, as its JWT's subject says; without a subject with the role where it has no JWT. As the
-- caller, who has to have begun it.
create or replace function pgembedd.share_thread(thread uuid, role regrole, subject text default '') returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
begin
    perform _check_texts('{subject}', array[subject]), _check_own_thread(thread), _check_role(role);
    insert into thread_member (thread, role, subject, by_role, by_subject)
    select share_thread.thread, r.rolname, coalesce(share_thread.subject, ''), current_user, _subject()
    from pg_roles r where r.oid = share_thread.role
    on conflict do nothing;
end $$;
comment on function pgembedd.share_thread is
    'Let another role, or one user of it, see a thread of yours and go on with it.';

create or replace function pgembedd.unshare_thread(thread uuid, role regrole, subject text default '') returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
begin
    perform _check_texts('{subject}', array[subject]), _check_own_thread(thread), _check_role(role);
    delete from thread_member m using pg_roles r
    where r.oid = unshare_thread.role and m.thread = unshare_thread.thread and m.role = r.rolname
      and m.subject = coalesce(unshare_thread.subject, '');
    return found;
end $$;
comment on function pgembedd.unshare_thread is
    'Take back what share_thread() gave; returns whether it was shared so.';

create or replace function pgembedd_internal._check_own_thread(thread uuid) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not exists (select from answer_thread t
                   where t.id = thread and t.role = current_user and t.subject = _subject()) then
        raise exception using message = format('There is no thread %s that you have begun.', thread),
            hint = 'Only its first asker shares it.', errcode = 'undefined_object';
    end if;
end $$;

create or replace function pgembedd.grant_ask(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
begin
    perform _check_role(role);
    perform grant_search(role);
    execute format('grant select on answers, answer_settings, answer_thread, thread_member, answer, answer_events, '
                   'model, _readable_sources to %s', role);
    execute format('grant insert (id, role, subject) on answer_thread to %s', role);
    execute format('grant insert on thread_member, answer_source to %s', role);
    execute format('grant delete on thread_member to %s', role);
    execute format('grant insert (id, thread, pipeline, question, model, role, subject), '
                   'update (status) on answer to %s', role);
    perform _grant_functions(role, array(select f from _ask_functions() f));
end $$;
comment on function pgembedd.grant_ask is
    'Let a role search and call pgembedd.ask(). It is answered from what it may read, and sees its own answers.';

create or replace function pgembedd_internal._ask_functions() returns setof regprocedure
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = any (_schemas()) and f.proname in (
        'ask', 'answer', 'answer_sources', 'share_thread', 'unshare_thread', '_check_own_thread',
        '_check_role', '_check_question', '_check_language_model', '_is_readable_source', '_subject',
        '_find_sources', '_without_operators', '_answer_threshold', '_known_model', '_answer_title', '_answer_url',
        '_begin_answer', '_readable_rows', '_texts_hash', '_hash_of_texts', '_url_columns', '_check_wait',
        'stop_answer', '_end_stopped', '_is_untaken', '_answer_state')
$$;
