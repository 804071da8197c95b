-- Pins a pipeline to the model that serves it first. Returns the fingerprint it is pinned to.
create or replace function pgembedd.pin_model(pipeline_id integer, fingerprint text) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    pinned text;
begin
    update pipeline p set fingerprint = pin_model.fingerprint
    where p.id = pin_model.pipeline_id and p.fingerprint is null;
    select p.fingerprint into pinned from pipeline p where p.id = pin_model.pipeline_id;
    return pinned;
end $$;
