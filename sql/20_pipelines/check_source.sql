create or replace function pgembedd_internal._check_source(made pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    kind "char" := (select relkind from pg_class where oid = made.source);
begin
    if made.name is null or made.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' then
        raise exception using
            message = format('The pipeline name %s is not usable.', coalesce(quote_literal(made.name), 'NULL')),
            hint = 'Take letters, digits, "_", "-" and ".", at most 63, not starting with "-" or ".".',
            errcode = 'invalid_name';
    elsif made.source is null then
        raise exception using message = format('There is no table %s.', coalesce(made.source_name, 'NULL')),
            hint = 'Name it with its schema, and quote it as in SQL where it needs quoting: ''my_schema."My Table"''.',
            errcode = 'undefined_table';
    elsif _schema_of(made.source) in (
        'pgembedd', 'pgembedd_internal', 'pgembedd_code', 'pgmq', 'pg_catalog', 'information_schema') then
        raise exception using message = format('%s is not a table of yours.', made.source),
            hint = 'What pgembedd or Postgres itself writes to cannot be embedded.', errcode = 'wrong_object_type';
    elsif exists (select from pipeline p where p.embedding_table = made.source and p.task = 'embed') then
        raise exception using message = format('%s is the embedding table of a pipeline.', made.source),
            hint = 'Register the table that the texts are in.', errcode = 'wrong_object_type';
    elsif kind not in ('r', 'p') then
        raise exception using message = format('%s is %s, not a table.', made.source, case kind
            when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
            when 'i' then 'an index' when 'S' then 'a sequence' else 'no ordinary relation' end),
            hint = 'Register the table that the rows are written to.', errcode = 'wrong_object_type';
    elsif _inherits(made.source) then
        raise exception using
            message = format('%s takes part in table inheritance, or is one partition of a table.', made.source),
            hint = 'Register the partitioned table, or the hypertable, itself; inheritance is not supported.',
            errcode = 'feature_not_supported';
    elsif _is_distributed(made.source) then
        raise exception using message = format('%s is a table that Citus distributes.', made.source),
            hint = 'The queue is filled by statement triggers, which such a table cannot have. '
            'undistribute_table() makes it an ordinary one.', errcode = 'feature_not_supported';
    elsif (select relpersistence from pg_class where oid = made.source) = 't' then
        raise exception using message = format('%s is a temporary table.', made.source),
            hint = 'The worker could not see its rows; register a permanent table.', errcode = 'wrong_object_type';
    elsif exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
                  where i.indrelid = made.source and i.indisprimary and a.amname <> 'btree') then
        raise exception using message = format('%s has a primary key WITHOUT OVERLAPS.', made.source),
            hint = 'The queue names a row by a value that stays the same; '
            'a table with an ordinary primary key can be registered.', errcode = 'feature_not_supported';
    elsif not exists (select from _key_columns(made.source)) then
        raise exception using message = format('%s has no primary key.', made.source),
            hint = 'The queue names rows by their primary key: add one with ALTER TABLE ... ADD PRIMARY KEY.',
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;
