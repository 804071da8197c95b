-- What a search by words has to know of a pipeline; `words` is null where there is none.
create or replace function pgembedd._search_words_target(one pgembedd.pipeline) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    noted pgembedd.word_statistics;
    configs oid[];
    seen constant boolean := _sees_all_rows(one.source, one.words_table);
begin
    select w.* into noted from word_statistics w where w.pipeline_id = one.id;
    configs := array(
        select distinct _text_config_oid(c) from unnest(one.text_config || noted.configs) c
        where _text_config_oid(c) is not null);
    if not coalesce(_exists(one.words_table), false) or configs = '{}' then
        return jsonb_build_object('words', null, 'no_words', case
            when one.text_config is null then format('The pipeline "%s" was made without a search by words.', one.name)
            when configs = '{}' then format('The text search configuration %s of "%s" is gone.', one.text_config,
                                            one.name)
            else format('The words'' table of "%s" was dropped; the next sweep makes it anew.', one.name) end);
    end if;
    return jsonb_build_object(
        'words', (select format('%I.%I', n.nspname, c.relname) from pg_class c
                  join pg_namespace n on n.oid = c.relnamespace where c.oid = one.words_table),
        'words_oid', one.words_table::oid,
        'words_view', coalesce(_words_view(one.words_table), one.words_table)::text, 'text_configs', to_jsonb(configs),
        'documents', case when seen then coalesce(noted.documents, 0) end,
        'average_length', case when seen then coalesce(noted.average_length, 'infinity') end);
end $$;

-- The view of the words, or, where policies hide rows of the source from the caller, the table itself.
create or replace function pgembedd._search_words_relation(target jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select target ->> case when row_security_active((target ->> 'source_oid')::oid) then 'words' else 'words_view' end
$$;

-- The mode as it can be done: hybrid becomes semantic without words of the pipeline or of the query.
create or replace function pgembedd._search_mode(target jsonb, mode text, query text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    readable constant boolean := coalesce(has_table_privilege((target ->> 'words_oid')::oid, 'select'), false);
begin
    if mode is null or mode not in ('hybrid', 'semantic', 'text') then
        raise exception using message = format('The mode %s is not known.', coalesce(quote_literal(mode), 'NULL')),
            hint = 'There are hybrid, semantic and text.', errcode = '22023';
    elsif mode = 'text' and target ->> 'words' is null then
        raise exception using message = target ->> 'no_words',
            hint = 'Search with mode => ''semantic'', or create the pipeline again with a text_config; the vectors '
                'stay with adopt => true.', errcode = '22023';
    elsif mode = 'text' and not readable then
        raise exception 'The role % may not read %, without which it cannot search by words.',
            quote_ident(current_user), target ->> 'words' using errcode = 'insufficient_privilege',
            hint = format('Roles with SELECT on the whole of %s get it with the next sweep.', target ->> 'source');
    elsif mode = 'hybrid' and (not readable or query is null or _blank(query)) then
        return 'semantic';
    elsif mode <> 'semantic' and _search_lacks_policy(target) then
        if mode = 'text' then
            raise exception using
                message = format('The words of "%s" have not got the row level security of %s yet.', target ->> 'name',
                       target ->> 'source'),
                hint = 'The next sweep gives it to them; mode => ''semantic'' needs none.', errcode = '22023';
        end if;
        raise notice 'The words of "%" have not got the row level security of % yet, so only the meaning is searched.',
            target ->> 'name', target ->> 'source';
        return 'semantic';
    end if;
    return mode;
end $$;

-- Whether the source has had row level security since the last sweep, so that the words show the caller no row.
create or replace function pgembedd._search_lacks_policy(target jsonb) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select row_security_active((target ->> 'source_oid')::oid) and not exists (
        select from pg_policy p where p.polrelid = (target ->> 'words_oid')::oid and p.polname = 'pgembedd_source')
$$;
