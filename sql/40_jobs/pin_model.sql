-- Pins a pipeline to the model that serves it first. Returns the fingerprint it is pinned to.
create or replace function pgembedd_internal.pin_model(pipeline_id integer, fingerprint text) returns text
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    update pipeline p set fingerprint = coalesce(p.fingerprint, $2) where p.id = $1 returning p.fingerprint
$$;
comment on function pgembedd_internal.pin_model is
    'Pin a pipeline to this model if it is pinned to none; returns the fingerprint it is pinned to.';

-- The vectors of a few fixed texts, one after the other, as the model gave them when this pipeline was first served:
-- these, if it has none yet. Null for a pipeline that was dropped.
create or replace function pgembedd_internal.probe_model(pipeline_id integer, vectors real[]) returns real[]
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    insert into provider_probe (pipeline_id, vectors)
    select p.id, probe_model.vectors from pipeline p where p.id = probe_model.pipeline_id
    on conflict (pipeline_id) do nothing;
    return (select b.vectors from provider_probe b where b.pipeline_id = probe_model.pipeline_id);
end $$;
comment on function pgembedd_internal.probe_model is
    'The vectors that a provider''s model gave for a few fixed texts first; these, if there are none yet.';
