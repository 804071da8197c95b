-- The embedding table itself: made, checked, and given the rights and the row level security of its source.

-- Null for an embedding_table that names no table as SQL would; else the schema (that of the source unless it is
-- named) and the table.
create or replace function pgembedd._table_name(made pgembedd.pipeline) returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    parts text[];
begin
    parts := parse_ident(made.embedding_table_name);
    return case cardinality(parts) when 1 then _space(made.source) || parts when 2 then parts end;
exception when invalid_parameter_value then
    return null;
end $$;

create or replace function pgembedd._check_table_options(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    option text;
begin
    if made.embedding_table_name is null then
        option := case when made.chunk_tokens is not null then 'chunk_tokens' when made.chunk_overlap is not null then 'chunk_overlap'
                       when made.splitter <> 'text' then 'splitter' when made.formatting is not null then 'formatting' end;
        if option is not null then
            perform _refuse(format('%s needs an embedding_table: a column of the source holds one vector a row.', option),
                format('For example embedding_table => %L.', (select relname from pg_class where oid = made.source) || '_embeddings'));
        end if;
        return;
    elsif made.embedding_column is not null then
        perform _refuse('Say where the vectors are to go: embedding_column or embedding_table, one of the two.',
            'embedding_table holds one row a chunk, embedding_column one vector a row.');
    elsif _table_name(made) is null then
        perform _refuse(format('The embedding_table %s is no name of a table.', quote_literal(made.embedding_table_name)),
            'Quote it as in SQL where it needs quoting: ''my_schema."My Embeddings"''.');
    elsif coalesce(made.splitter, '') not in ('text', 'markdown') then
        perform _refuse(format('splitter %s is not known.', coalesce(quote_literal(made.splitter), 'NULL')), 'Take text or markdown.');
    elsif made.chunk_tokens not between 16 and 100000 then
        perform _refuse(format('chunk_tokens %s is out of range.', made.chunk_tokens),
            'Take 16 or more; without it, a chunk is as long as the model reads.');
    elsif made.chunk_overlap < 0 or made.chunk_overlap > 0 and made.chunk_tokens is null then
        perform _refuse(format('chunk_overlap %s does not go without chunk_tokens.', made.chunk_overlap),
            'Say how long a chunk is, too: for example chunk_tokens => 256, chunk_overlap => 32.');
    elsif made.chunk_overlap * 2 > made.chunk_tokens then
        perform _refuse(format('Chunks of %s tokens cannot overlap by %s.', made.chunk_tokens, made.chunk_overlap),
            'chunk_overlap is at most half of chunk_tokens.');
    end if;
    select k into option from unnest(made.key_columns) as k where k = any (_chunk_columns());
    if option is not null then
        perform _refuse(format('The key column "%s" of %s is called like a column of the embedding table.', option, made.source),
            'Rename it, or take an embedding_column.');
    end if;
    perform _check_formatting(made);
end $$;

create or replace function pgembedd._check_formatting(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if made.formatting is not null then
        if (select count(*) from _formatting_pieces(made.formatting) p where p.name = 'chunk') <> 1 then
            perform _refuse(format('The formatting %s does not hold $chunk once.', quote_literal(made.formatting)),
                'It says what is put around each chunk: for example formatting => ''$title: $chunk''.');
        end if;
        perform _check_columns(made, _formatting_columns(made.formatting), 'formatting');
    end if;
end $$;

create or replace function pgembedd._formatting_columns(formatting text) returns text[]
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select array_agg(distinct p.name) from _formatting_pieces(formatting) p where p.name <> 'chunk'
$$;

-- The table and its view; both belong to whom the source belongs to.
create or replace function pgembedd._ensure_table(made pgembedd.pipeline) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    named text[] := _table_name(made);
    table_name text := format('%I.%I', named[1], named[2]);
    owner regrole := (select relowner from pg_class where oid = made.source);
begin
    if to_regnamespace(quote_ident(named[1])) is null then
        perform _refuse(format('There is no schema %I for the embedding_table.', named[1]), format('CREATE SCHEMA %I, or name another.', named[1]));
    end if;
    execute format(
        'create table %s (
            %s,
            chunk_no integer not null, chunk text not null, start_offset integer not null, end_offset integer not null,
            embedding %s(%s) not null, content_hash bytea not null, model text not null,
            tokens integer not null, tokens_kept integer not null,
            embedded_at timestamptz not null default clock_timestamp(), primary key (%s, chunk_no))',
        table_name, _key_definitions(made.source), _vector_type(made.vector_type), made.dimensions,
        (select string_agg(quote_ident(k), ', ') from unnest(made.key_columns) as k));
    execute format('comment on table %s is %L', table_name,
        format('Chunks of %s with their vectors, kept in step by the pipeline "%s".', made.source, made.name));
    if owner <> current_user::regrole then
        execute format('alter table %s owner to %s', table_name, owner);
    end if;
    return table_name::regclass;
end $$;

create or replace function pgembedd._key_definitions(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select string_agg(format('%I %s%s not null', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attcollation <> t.typcollation then format(' collate %I.%I', n.nspname, l.collname) else '' end), ', ' order by k.nth)
    from _key_columns(source) k
    join pg_attribute a on a.attrelid = source and a.attname = k.name
    join pg_type t on t.oid = a.atttypid
    left join pg_collation l on l.oid = a.attcollation
    left join pg_namespace n on n.oid = l.collnamespace
$$;

create or replace function pgembedd._view_name(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('%I.%I', n.nspname, _cut(c.relname, 58) || '_view')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = pipeline.embedding_table
$$;

-- The view of that name, if it is the one that we made: a view over the embedding table.
create or replace function pgembedd._view(pipeline pgembedd.pipeline) returns regclass
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select c.oid::regclass from pg_class c
    where c.oid = to_regclass(_view_name(pipeline)) and c.relkind = 'v' and exists (
        select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where r.ev_class = c.oid and d.refobjid = pipeline.embedding_table)
$$;

-- The rows of the source (their vectors excepted, whose columns come and go), each with its chunks; what is called alike on both sides gets an embedding_ in front. It runs
-- with the rights of whoever asks, which views before PostgreSQL 15 cannot: there row level security means no view.
create or replace function pgembedd._ensure_view(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    invoker boolean := current_setting('server_version_num')::integer >= 150000;
    source_columns text := (select string_agg(format('s.%I', c), ', ') from unnest(_watchable_columns(pipeline.source)) as c);
    columns text;
    owner regrole := (select relowner from pg_class where oid = pipeline.source);
begin
    if to_regclass(_view_name(pipeline)) is not null and _view(pipeline) is null then
        raise notice '% is there already, so there is no view that joins % and its chunks.', _view_name(pipeline), pipeline.source;
    end if;
    if to_regclass(_view_name(pipeline)) is not null
       or not invoker and (select relrowsecurity from pg_class where oid = pipeline.source) then return; end if;
    select string_agg(format('e.%I as %I', c, (
        select n from unnest(array[c, 'embedding_' || c, 'pgembedd_' || c, 'pgembedd_embedding_' || c]) with ordinality as t(n, nth)
        where n <> all (_watchable_columns(pipeline.source)) and (n = c or n <> all (_chunk_columns())) order by nth limit 1)), ', ')
    into columns from unnest(_chunk_columns()) as c;
    execute format('create view %s %s as select %s, %s from %s s join %s e on %s', _view_name(pipeline),
        case when invoker then 'with (security_invoker = true)' else '' end, source_columns, columns, pipeline.source, pipeline.embedding_table,
        _key_match(pipeline.source, 's', 'e'));
    if owner <> current_user::regrole then
        execute format('alter view %s owner to %s', _view_name(pipeline), owner);
    end if;
end $$;

-- Who may read the source may read its chunks, and of those only the ones whose row they see. Looked at with every
-- sweep, and changed only where it differs.
create or replace function pgembedd._mirror_rights(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    secured boolean := (select relrowsecurity from pg_class where oid = pipeline.source);
    named text := (select quote_ident(relname) from pg_class where oid = pipeline.embedding_table);
    alias text := case when named = 's' then 't' else 's' end;
    relation regclass;
    item record;
begin
    if secured and not exists (select from pg_policy where polrelid = pipeline.embedding_table and polname = 'pgembedd_source') then
        -- Within it the embedding table has its own name only, which the alias must not hide.
        execute format('create policy pgembedd_source on %s for select using (exists (select from %s %s where %s))',
            pipeline.embedding_table, pipeline.source, alias, _key_match(pipeline.source, alias, named));
    end if;
    if secured <> (select relrowsecurity from pg_class where oid = pipeline.embedding_table) then
        execute format('alter table %s %s row level security', pipeline.embedding_table, case when secured then 'enable' else 'disable' end);
    end if;
    -- Before PostgreSQL 15 a view reads with the rights of its owner, whom the policies do not concern.
    if secured and current_setting('server_version_num')::integer < 150000 and _view(pipeline) is not null then
        execute format('drop view %s', _view(pipeline));
    end if;
    foreach relation in array array[pipeline.embedding_table, _view(pipeline)] loop
        -- What default privileges gave beside it: TRUNCATE, above all, asks no policy.
        for item in
            select distinct a.grantee, a.privilege_type from pg_class c, aclexplode(c.relacl) a
            where c.oid = relation and a.grantee <> c.relowner and a.privilege_type <> 'SELECT'
        loop
            execute format('revoke %s on %s from %s cascade', item.privilege_type, relation,
                case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
        end loop;
        for item in
            select coalesce(given.grantee, has.grantee) as grantee, given.grantee is not null as wanted
            from (select distinct grantee from _readers(pipeline.source)) given
            full join (select distinct grantee from _readers(relation)) has using (grantee)
            where relation is not null and (given.grantee is null or has.grantee is null)
        loop
            execute format(case when item.wanted then 'grant select on %s to %s' else 'revoke select on %s from %s cascade' end, relation,
                case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
        end loop;
    end loop;
end $$;

-- Of every pipeline, whether it runs or not: a right that was taken away is to be gone.
create or replace function pgembedd._mirror_all_rights() returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
begin
    for one in select p.* from pipeline p where p.embedding_table is not null order by p.id loop
        continue when not _exists(one.source) or not _exists(one.embedding_table);
        begin
            perform set_config('lock_timeout', '100ms', true), _mirror_rights(one);
        exception when others then
            raise warning 'the rights on % are left as they are: %', one.embedding_table, sqlerrm;
        end;
    end loop;
    perform set_config('lock_timeout', '2s', true);
end $$;

-- Roles other than the owner that were granted SELECT; 0 is PUBLIC.
create or replace function pgembedd._readers(relation regclass) returns table (grantee oid)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select a.grantee from pg_class c, aclexplode(c.relacl) a
    where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
$$;

-- What is wrong with the embedding table, in one sentence, or null.
create or replace function pgembedd._table_problem(pipeline pgembedd.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    missing text;
    actual text;
begin
    if not _exists(pipeline.embedding_table) then
        return format('The embedding table %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L) and create it again.',
            pipeline.embedding_table_name, pipeline.name);
    end if;
    select string_agg(format('"%s"', c), ', ') into missing from unnest(pipeline.key_columns || _chunk_columns()) as c
    where not exists (select from pg_attribute a where a.attrelid = pipeline.embedding_table and a.attname = c and not a.attisdropped);
    if missing is not null then
        return format('The embedding table %s has no column %s any more. Rename it back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, missing, pipeline.name);
    end if;
    select format_type(a.atttypid, a.atttypmod) into actual from pg_attribute a
    where a.attrelid = pipeline.embedding_table and a.attname = 'embedding';
    if actual <> format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) then
        return format('%s.embedding is %s now, but the pipeline writes %s(%s). Change the type back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, actual, pipeline.vector_type, pipeline.dimensions, pipeline.name);
    end if;
    return _chunk_key_problem(pipeline);
end $$;
