create or replace function pgembedd._check_source(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    kind "char" := (select relkind from pg_class where oid = made.source);
begin
    if made.name is null or made.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' then
        perform _refuse(format('The pipeline name %s is not usable.', coalesce(quote_literal(made.name), 'NULL')),
            'Take letters, digits, "_", "-" and ".", at most 63, not starting with "-" or ".".');
    elsif exists (select from pipeline p where p.name = made.name) then
        perform _refuse(format('There is a pipeline "%s" already.', made.name),
            format('Choose another name, or remove it with select pgembedd.drop_pipeline(%L).', made.name));
    elsif made.source is null then
        perform _refuse(format('There is no table %s.', coalesce(made.source_name, 'NULL')),
            'Name it with its schema, and quote it as in SQL where it needs quoting: ''my_schema."My Table"''.');
    elsif _schema_of(made.source) in ('pgembedd', 'pgembedd_code', 'pgmq', 'pg_catalog', 'information_schema') then
        perform _refuse(format('%s is not a table of yours.', made.source),
            'What pgembedd or Postgres itself writes to cannot be embedded.');
    elsif exists (select from pipeline p where p.embedding_table = made.source) then
        perform _refuse(format('%s is the embedding table of a pipeline.', made.source),
            'Register the table that the texts are in.');
    elsif kind not in ('r', 'p') then
        perform _refuse(format('%s is %s, not a table.', made.source, case kind
            when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
            when 'i' then 'an index' when 'S' then 'a sequence' else 'no ordinary relation' end),
            'Register the table that the rows are written to.');
    elsif _inherits(made.source) then
        perform _refuse(format('%s takes part in table inheritance, or is one partition of a table.', made.source),
            'Register the partitioned table itself; tables with inheritance children are not supported.');
    elsif (select relpersistence from pg_class where oid = made.source) = 't' then
        perform _refuse(format('%s is a temporary table.', made.source),
            'The worker could not see its rows; register a permanent table.');
    elsif exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
                  where i.indrelid = made.source and i.indisprimary and a.amname <> 'btree') then
        perform _refuse(format('%s has a primary key WITHOUT OVERLAPS.', made.source),
            'The queue names a row by a value that stays the same; '
            'a table with an ordinary primary key can be registered.');
    elsif not exists (select from _key_columns(made.source)) then
        perform _refuse(format('%s has no primary key.', made.source),
            'The queue names rows by their primary key: add one with ALTER TABLE ... ADD PRIMARY KEY.');
    end if;
end $$;
