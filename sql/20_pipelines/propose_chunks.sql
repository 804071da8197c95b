-- Raises a notice when many rows of a new pipeline are longer than what goes into one vector. The content is read as a
-- worker reads it, as the table's owner; an error in it does not keep the pipeline from being created.
create or replace function pgembedd_internal._propose_chunks(made pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    started timestamptz := clock_timestamp();
    keys jsonb[];
    seen bigint := 0;
    long bigint := 0;
    these record;
begin
    if made.embedding_table is not null or not _may_have_rows(made.source) then return; end if;
    keys := array(select jsonb_array_elements(nullif(_ask(made, format(
        'select pg_catalog.jsonb_agg(k.id) from (select %s as id '
        'from %s s %s order by pg_catalog.random() limit 200) k',
        _key_json(made.source, 's'), made.source, _sample(_percent(made.source, 50)))), 'null')));
    for n in 1 .. coalesce(cardinality(keys), 0) by 10 loop
        exit when clock_timestamp() > started + interval '1 second';  -- a slow content function, or texts of megabytes
        select count(*) as seen, count(*) filter (where _tokens(r.content) > 512) as long into these
        from read(made.id, keys[n : n + 9]) r where r.state <> 'gone';
        seen := seen + these.seen;
        long := long + these.long;
    end loop;
    if long * 20 > seen then
        raise notice '% of % of % % to be longer than 512 tokens, which '
                     'is about what goes into one vector: the rest of the text would not be found.',
            long, _counted(seen, 'sampled row'), made.source, case when long = 1 then 'seems' else 'seem' end
            using hint = format('Drop the pipeline and create it with embedding_table => %L '
                                'instead of an embedding_column: then long texts are cut into '
                                'chunks, each with a vector of its own. The lengths are estimates.',
                                (select relname from pg_class where oid = made.source) || '_embeddings');
    end if;
exception when others then
    raise notice 'The content of % could not be looked at: %', made.source, sqlerrm;
end $$;

-- About how many tokens a text has: four characters of English make one, and so does one of Chinese. Accents, Greek
-- and Cyrillic are between. In UTF-8 these take one, three and two bytes a character.
create or replace function pgembedd_internal._tokens(content text) returns bigint
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select (length(content) + 3 * (octet_length(content) - length(content)) / 2) / 4::bigint $$;
