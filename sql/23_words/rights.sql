-- Gives the readers of the source the right to read its words. As with an embedding table, a policy hides at once what
-- is revoked or hidden in the source. Where the source has row level security it looks each row up, which leaves the
-- GIN index unused: @@ is not leakproof. Elsewhere it is a condition of no column, checked once a query; it is false
-- from the moment that the source gets row level security, until the sweep changes the policy.
create or replace function pgembedd._mirror_words_rights(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    secured constant boolean := (select relrowsecurity from pg_class where oid = pipeline.source);
    named constant text := (select quote_ident(relname) from pg_class where oid = pipeline.words_table);
    alias constant text := case when named = 's' then 't' else 's' end;
    -- By its name as a text: on a constant of regclass the table would depend, and could not be dropped.
    wanted constant text := case when secured
        then format('exists (select from %s %s where %s offset 0)', pipeline.source, alias,
                    _key_match(pipeline.source, alias, named))
        else format('pg_catalog.has_table_privilege(pg_catalog.to_regclass(%1$L), ''select'') '
                    'and not pg_catalog.row_security_active(pg_catalog.to_regclass(%1$L))', pipeline.source) end;
begin
    if wanted is distinct from (select obj_description(oid, 'pg_policy') from pg_policy
                                where polrelid = pipeline.words_table and polname = 'pgembedd_source') then
        execute format('drop policy if exists pgembedd_source on %s', pipeline.words_table);
        execute format('create policy pgembedd_source on %s for select using (%s)', pipeline.words_table, wanted);
        execute format('comment on policy pgembedd_source on %s is %L', pipeline.words_table, wanted);
    end if;
    if not (select relrowsecurity from pg_class where oid = pipeline.words_table) then
        execute format('alter table %s enable row level security', pipeline.words_table);
    end if;
    perform _mirror_grants(pipeline.source, pipeline.words_table);
end $$;
