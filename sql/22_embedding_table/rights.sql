-- Gives the readers of the source the right to read its chunks. Called by every sweep; it changes only what differs.
-- A policy looks each chunk's row up in the source, with the reader's rights: so what is revoked or hidden there is
-- hidden here in the same transaction. It does not concern the owner, and so costs nothing where no other role reads.
create or replace function pgembedd_internal._mirror_rights(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _mirror_policy(pipeline.source, pipeline.embedding_table, true);
    perform _mirror_grants(pipeline.source, r)
    from unnest(array[pipeline.embedding_table, _view(pipeline)]) as r where r is not null;
end $$;

-- Has a table of ours be read by its policy alone, and gives it that, or takes it.
create or replace function pgembedd_internal._mirror_policy(source regclass, relation regclass, wanted boolean)
returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named constant text := (select quote_ident(relname) from pg_class where oid = relation);
    alias constant text := case when named = 's' then 't' else 's' end;
    there constant boolean := exists (
        select from pg_policy where polrelid = relation and polname = 'pgembedd_source');
begin
    if wanted and not there then
        -- Within it the table has its own name only, which the alias must not hide. OFFSET keeps the planner from
        -- reading the whole source into a hash table for a search that asks about a few chunks.
        execute format('create policy pgembedd_source on %s for select using ('
                       'exists (select from %s %s where %s offset 0))',
            relation, source, alias, _key_match(source, alias, named));
    elsif there and not wanted then  -- the source could not be dropped because of it
        execute format('drop policy pgembedd_source on %s', relation);
    end if;
    if not (select relrowsecurity from pg_class where oid = relation) then
        execute format('alter table %s enable row level security', relation);
    end if;
end $$;

create or replace function pgembedd_internal._mirror_grants(source regclass, relation regclass) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    -- What default privileges gave in addition: TRUNCATE, above all, asks no policy.
    for item in
        select distinct a.grantee, a.privilege_type from pg_class c, aclexplode(c.relacl) a
        where c.oid = relation and a.grantee <> c.relowner and a.privilege_type <> 'SELECT'
    loop
        execute format('revoke %s on %s from %s cascade', item.privilege_type, relation,
            case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
    end loop;
    for item in
        select coalesce(given.grantee, has.grantee) as grantee, given.grantee is not null as wanted
        from (select distinct grantee from _readers(source)) given
        full join (select distinct grantee from _readers(relation)) has using (grantee)
        where given.grantee is null or has.grantee is null
    loop
        execute format(case when item.wanted then 'grant select on %s to %s'
                            else 'revoke select on %s from %s cascade' end, relation,
            case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
    end loop;
end $$;

-- Of every pipeline, whether it runs or not: a right that was taken away is to be gone.
create or replace function pgembedd_internal._mirror_all_rights() returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
begin
    for one in select p.* from pipeline p order by p.id loop
        continue when not _exists(one.source);
        begin
            perform set_config('lock_timeout', '100ms', true);
            if _exists(one.embedding_table) then perform _mirror_rights(one); end if;
            if _exists(one.words_table) then perform _mirror_words_rights(one); end if;
        exception when others then
            raise warning 'the rights on the tables of the pipeline "%" are left as they are: %', one.name, sqlerrm;
        end;
    end loop;
    perform set_config('lock_timeout', '2s', true);
end $$;

-- Roles other than the owner that were granted SELECT; 0 is PUBLIC.
create or replace function pgembedd_internal._readers(relation regclass) returns table (grantee oid)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select a.grantee from pg_class c, aclexplode(c.relacl) a
    where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
$$;
