create or replace function pgembedd.requeue(pipeline text, keys jsonb[]) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set row_security = off
-- The settings of _key_settings.
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'
set bytea_output = 'hex'
as $$
declare
    one pgembedd_internal.pipeline := _working_pipeline(pipeline);
    -- The key is written as the triggers write it. Of an embedding table also keys whose row is gone: the worker finds
    -- that out and removes their chunks.
    query text := format('select coalesce(pg_catalog.jsonb_agg(f.id), ''[]'') from (%s) f', (
        select string_agg(format('select distinct %s as id from pg_catalog.unnest(%L::pg_catalog.jsonb[]) as '
                                 'i(id) cross join lateral %s join %s s on %s',
            _key_json(one.source, 's'), keys, _key_record(one.source, 'i.id'), t.relation,
            _key_match(one.source, 's', 'k')), ' union ')
        from unnest(array[one.source, one.embedding_table]) as t(relation) where t.relation is not null));
    present jsonb;
    queued bigint;
begin
    perform _check_list('keys', cardinality(keys), 100000);
    present := _ask(one, query);
    queued := _enqueue_once(one, 'jsonb_array_elements($1) with ordinality as k(id, n)', present);
    if one.embedding_table is not null then
        -- No chunk is to be taken over for its text: its vector may be what is wrong.
        perform _invalidate_chunks(one, to_jsonb(keys));
    end if;
    return queued;
exception when data_exception or integrity_constraint_violation then
    perform _check_search_key(_search_target(one.name, null, null), k) from unnest(keys) k;
    raise exception using  -- a domain does not take it
        message = _cut(format('One of the keys is no key of "%s": %s.', one.name, sqlerrm)),
        hint = _search_key_in_words(one.source, one.key_columns), errcode = 'invalid_parameter_value';
end $$;
comment on function pgembedd.requeue is
    'Queue rows by key, whether they have a vector or not; those '
    'that are queued or gone are left out. Returns how many.';
