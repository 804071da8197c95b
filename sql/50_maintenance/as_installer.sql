-- What the upkeep needs more rights for than _runner() has: it makes code, triggers and grants. These three, and the
-- others that 90_rights/role.sql names, belong to the installer. They run no code of a table's owner, call nothing that
-- belongs to _runner(), and take the number of a pipeline: the rest of it could be made up.

create or replace function pgembedd_internal._follow_as_installer(pipeline_id integer) returns text
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _follow(p) from pipeline p where p.id = pipeline_id $$;

-- Makes the code of a stopped pipeline again where it has no problem any more; returns whether that is so.
create or replace function pgembedd_internal._remake_mended(pipeline_id integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
begin
    select p.* into one from pipeline p where p.id = pipeline_id;
    if _problem(one) is not null then return false; end if;
    perform _remake(one);
    return true;
end $$;

create or replace function pgembedd_internal._attach_triggers(pipeline_id integer) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _attach(p) from pipeline p where p.id = pipeline_id $$;

-- Follows an alteration, and deletes the chunks of rows that went meanwhile, which runs code of the table's owner.
create or replace function pgembedd_internal._brought_up_to_date(pipeline_id integer) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    problem text := _follow_as_installer(pipeline_id);
begin
    if problem = 'followed' then
        perform _tidy(p) from pipeline p where p.id = pipeline_id;
    end if;
    return problem;
end $$;
