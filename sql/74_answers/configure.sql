-- Null keeps a setting; `reset` names those that go back to their defaults.
create or replace function pgembedd.configure_answers(
    pipeline text,
    language_model text default null,
    url_template text default null,
    title_column text default null,
    min_similarity double precision default null,
    keep interval default null,
    language_models text[] default null,
    reset text[] default '{}'
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
set quote_all_identifiers = off
as $$
#variable_conflict use_variable
declare
    one pgembedd_internal.pipeline := _pipeline(pipeline);
    asked pgembedd_internal.answer_settings :=
        row (one.name, language_model, url_template, title_column, min_similarity, keep, language_models);
    again constant text[] := coalesce(reset, '{}');
    ignored text := _check_members('reset', reset);
begin
    ignored := _check_answer_settings(one, asked);
    ignored := _check_reset(to_jsonb(asked) - 'pipeline', again);
    insert into answer_settings (pipeline) values (one.name) on conflict do nothing;
    update answer_settings s set
        language_model = coalesce(asked.language_model,
            case when 'language_model' <> all (again) then s.language_model end),
        url_template = coalesce(asked.url_template, case when 'url_template' <> all (again) then s.url_template end),
        title_column = coalesce(asked.title_column, case when 'title_column' <> all (again) then s.title_column end),
        min_similarity = coalesce(asked.min_similarity,
            case when 'min_similarity' <> all (again) then s.min_similarity end),
        keep = coalesce(asked.keep, case when 'keep' <> all (again) then s.keep end, '30 days'),
        language_models = coalesce(asked.language_models,
            case when 'language_models' <> all (again) then s.language_models end, '{}')
    where s.pipeline = one.name;
end $$;
comment on function pgembedd.configure_answers is
    'Set how questions about a pipeline are answered: models, links and titles of sources, threshold, how long kept.';

create or replace function pgembedd_internal._check_answer_settings(
    one pgembedd_internal.pipeline, asked pgembedd_internal.answer_settings
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    unknown text;
    ignored text := _check_texts('{language_model,url_template,title_column}',
                                 array[asked.language_model, asked.url_template, asked.title_column]);
begin
    ignored := _check_members('language_models', asked.language_models);
    unknown := _missing_columns(one.source, array_remove(
        asked.title_column || array(select _url_columns(asked.url_template)), null));
    if unknown is not null then
        raise exception using message = format('%s has no column %s.', one.source, unknown),
            hint =
                'title_column is a column of the table; url_template names some in braces: https://example.com/{id}.',
            errcode = 'undefined_column';
    elsif asked.url_template !~ '^https?://' then
        raise exception using message = format('%s is no URL.', quote_literal(asked.url_template)),
            hint = 'It begins with https:// or http://.', errcode = 'invalid_parameter_value';
    elsif asked.keep <= interval '0' or asked.keep > interval '100 years' then
        raise exception using message = 'keep is an interval above zero, of 100 years at most.',
            errcode = 'invalid_parameter_value';
    elsif _search_similarity_range(one.distance, asked.min_similarity) is not null then
        raise exception using message = format('min_similarity %s is out of range.', asked.min_similarity),
            hint = _search_similarity_range(one.distance, asked.min_similarity), errcode = 'invalid_parameter_value';
    end if;
end $$;

create or replace view pgembedd.answer_options as
    select s.pipeline, s.language_model, s.url_template, s.title_column, s.min_similarity, s.keep, s.language_models
    from pgembedd_internal.answer_settings s;
comment on view pgembedd.answer_options is
    'What configure_answers() has set; a pipeline that is not here has the defaults.';

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
            hint = 'Only its first asker shares it.', errcode = 'no_data_found';
    end if;
end $$;

create or replace function pgembedd.grant_ask(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'ask');
begin
end $$;
comment on function pgembedd.grant_ask is
    'Let a role search and call pgembedd.ask(). It is answered from what it may read, and sees its own answers.';

create or replace function pgembedd.revoke_ask(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'ask');
begin
end $$;
comment on function pgembedd.revoke_ask is
    'Take back what grant_ask() gave, with the right to search. Its answers stay until their time is over.';

create or replace function pgembedd_internal._ask_privileges() returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    values ('select on answers, answer_settings, answer_thread, thread_member, answer, answer_events, model, '
            '_readable_sources'),
           ('insert (id, role, subject) on answer_thread'),
           ('insert on thread_member, answer_source'),
           ('delete on thread_member'),
           ('insert (id, thread, pipeline, question, language_model, role, subject), update (status) on answer')
    union all
    select format('execute on routine %s', f) from _ask_functions() f
$$;

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
