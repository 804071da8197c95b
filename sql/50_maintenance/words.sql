-- The upkeep of the words: those that a vector lacks, and the statistics that the ranking needs.

-- Adds words of rows that have a vector and no words, as after existing_vectors => 'keep'. Nothing to do once all have
-- them.
create or replace function pgembedd_internal._fill_words(one pgembedd_internal.pipeline, at_most bigint) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    keys jsonb[];
begin
    if one.words_table is null
       or not exists (select from word_statistics w where w.pipeline_id = one.id and not w.filled)
    then return; end if;
    keys := array(select jsonb_array_elements(_ask_named(one, 'lacking words', to_jsonb(at_most))));
    if keys <> '{}' then
        execute format('select %s(array(select distinct k from unnest($1) k), false)',
            _pipeline_function(one.id, 'words')) using keys;
        perform pgembedd_internal._check_session();
    end if;
    if cardinality(keys) < at_most then
        update word_statistics w set filled = true where w.pipeline_id = one.id;
    end if;
end $$;

-- Deletes the words of rows and chunks that are gone, which no search shows.
create or replace function pgembedd_internal._tidy_words(one pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not coalesce(_exists(one.words_table), false) then return; end if;
    execute format('select a from %s as a', _named_statement(one, 'tidy words')) using null::jsonb;
    perform pgembedd_internal._check_session();
end $$;

-- Takes the samples that are due, and one as soon as the words' table has twice as many rows as the last one knew of: a
-- first load is searched with the statistics of at least half of it. An error does not stop the rest of the upkeep.
create or replace function pgembedd_internal._sample_words() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd_internal.pipeline;
begin
    for one in
        select p.* from pipeline p join word_statistics w on w.pipeline_id = p.id
        where _exists(p.words_table) and _exists(p.source) and not _without_upkeep(p)
          and w.changes <> _word_changes(p.words_table)
          and (w.due_at <= clock_timestamp() or pg_stat_get_live_tuples(p.words_table) > 2 * w.documents)
        order by p.id
    loop
        begin
            perform _upkeep_at(one.id), _note_words(one);
        exception
            when lock_not_available or transaction_rollback or insufficient_resources then null;
            when others then raise warning 'no sample of the words of "%" was taken: %', one.name, sqlerrm;
                update word_statistics w  -- with as many as there are, lest their growth ask for one before
                set due_at = clock_timestamp() + interval '10 minutes',
                    documents = greatest(w.documents, pg_stat_get_live_tuples(one.words_table))
                where w.pipeline_id = one.id;
        end;
    end loop;
end $$;

create or replace function pgembedd_internal._word_changes(words regclass) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_stat_get_tuples_inserted(words) + pg_stat_get_tuples_updated(words) + pg_stat_get_tuples_deleted(words)
$$;

-- Replaces what is known of the words of a pipeline by a sample; the next one is due in a minute, or after a thousand
-- times as long as this one took. Configurations are not forgotten, as one may be rare.
create or replace function pgembedd_internal._note_words(one pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    began_at constant timestamptz := clock_timestamp();
    counted constant bigint := _word_changes(one.words_table);
    total constant double precision := greatest(pg_stat_get_live_tuples(one.words_table),
        (select c.reltuples from pg_class c where c.oid = one.words_table));
    percent constant double precision := least(100, 600000 / greatest(total, 1));
    noted constant jsonb := _ask_named(one, 'words',
        jsonb_build_object('percent', percent, 'seed', extract(epoch from now())::integer));
begin
    delete from word_frequency f where f.pipeline_id = one.id;
    insert into word_frequency (pipeline_id, word, share)
    select one.id, w.word, w.ndoc / (noted ->> 'documents')::real
    from jsonb_to_recordset(noted -> 'words') as w(word text, ndoc integer);
    update word_statistics w
    set documents = greatest((noted ->> 'documents')::double precision, case when percent < 100 then total end),
        average_length = greatest(coalesce((noted ->> 'length')::double precision, 'infinity'), 1),
        configs = array(
            select unnest(w.configs) union select jsonb_array_elements_text(noted -> 'configs') order by 1),
        changes = counted,
        due_at = clock_timestamp() + greatest(interval '50 s', 1000 * (clock_timestamp() - began_at))
    where w.pipeline_id = one.id;
end $$;

-- The statement that counts the words of a sample of 5000 rows or chunks, and the configurations that a column names in
-- 200 times as many. A word of less than five of them counts as rare, however often it occurs: a search shows something
-- of these numbers to roles from whom policies hide rows.
create or replace function pgembedd_internal._words_sample(one pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        select pg_catalog.jsonb_build_object('documents', d.documents, 'length', d.length, 'configs', {configs},
            'words', (select coalesce(pg_catalog.jsonb_agg(
                          pg_catalog.jsonb_build_object('word', o.word, 'ndoc', o.ndoc)), '[]')
                      from (select t.word, t.ndoc
                            from pg_catalog.ts_stat(pg_catalog.format({text}, {percent}, {seed})) t
                            where t.ndoc operator(pg_catalog.>=) 5
                            order by t.ndoc using operator(pg_catalog.>) limit 20000) o))
        from (select pg_catalog.count(*) as documents, pg_catalog.avg(pg_catalog.length(r.pgembedd_words)) as length
              from ({rows}) r) d $q$, jsonb_build_object(
        'percent', p.percent, 'seed', p.seed, 'rows', format(p.rows, one.words_table, p.percent, p.seed),
        'text', quote_literal(format(p.rows, replace(one.words_table::text, '%', '%%'), '%s', '%s')),
        'configs', case when one.text_config_column is null then $q$'[]'::pg_catalog.jsonb$q$ else format($q$
            (select coalesce(pg_catalog.jsonb_agg(distinct pg_catalog.format('%%I.%%I', n.nspname, c.cfgname)), '[]')
             from (select distinct %s as config from %s s
                   tablesample pg_catalog.system (least(100, 200 operator(pg_catalog.*) %s)) repeatable (%s)) r
             join pg_catalog.pg_ts_config c on c.oid operator(pg_catalog.=) r.config
             join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.cfgnamespace) $q$,
            _row_config(one, 's'), one.source, p.percent, p.seed) end))
    from (select $q$($1 operator(pg_catalog.->>) 'percent')::real$q$ as percent,
                 $q$($1 operator(pg_catalog.->>) 'seed')::integer$q$ as seed,
                 'select w.pgembedd_words from %s w tablesample pg_catalog.system (%s) repeatable (%s) limit 5000'
                     as rows) p
$$;

-- The statements of every day over the words of a pipeline that has them.
create or replace function pgembedd_internal._words_statements(one pgembedd_internal.pipeline)
returns table (question text, statement text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select q.question, _render(q.template, jsonb_build_object(
        'key', _key_json(one.source, 'v'), 'vectors', _target(one), 'words', one.words_table,
        'has_vector', format('v.%I is not null', _vector_column(one)),
        'is_same', _key_match(one.source, 'w', 'v'), 'is_vector', _key_match(one.source, 'v', 'w'),
        'same_chunk', case when one.embedding_table is not null
                           then 'and w.chunk_index operator(pg_catalog.=) v.chunk_index' end))
    from (values
        ('lacking words', $q$
            select coalesce(pg_catalog.jsonb_agg(l.id), '[]') from (
                select {key} as id from {vectors} v
                where {has_vector} and not exists (select from {words} w where {is_same} {same_chunk})
                limit $1::pg_catalog.int8) l $q$),
        ('tidy words', $q$
            with d as (delete from {words} w
                       where not exists (select from {vectors} v where {is_vector} {same_chunk}) returning 1)
            select pg_catalog.to_jsonb(pg_catalog.count(*)) from d $q$)) as q(question, template)
    where one.words_table is not null
    union all
    select 'words', _words_sample(one) where one.words_table is not null
$$;
