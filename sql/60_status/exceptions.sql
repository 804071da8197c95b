-- How many rows of each kind `row_state` or `dead_letter` has of each pipeline, of number 0 those that belong to none;
-- `column_of_kind` says which. A look at a table costs as much as one of about 1,500 pages, however many there
-- are: of a longer one the rows of a pipeline that has many are estimated from 750 pages, as in a queue.
create or replace function pgembedd_internal._exceptions(relation regclass, column_of_kind text)
returns table (pipeline_id integer, kind text, rows bigint, estimated boolean)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off set enable_bitmapscan = off  -- the index gives the first rows of each pipeline
as $$
declare
    percent constant double precision := _percent(relation, 750);
begin
    return query execute _render(case when percent = 100 then $q$
        select coalesce(e.pipeline_id, 0), e.{kind}, count(*), false from {relation} e group by 1, 2
        $q$ else $q$
        with sampled as materialized (
            select coalesce(e.pipeline_id, 0) as pipeline_id, e.{kind} as kind, count(*) * $1 as rows
            from {relation} e {sample} group by 1, 2),
        few as (select greatest(100, 10000 / greatest(count(*), 1)) as most from pipeline),
        first as (
            select p.id as pipeline_id, f.* from few cross join pipeline p cross join lateral (
                select e.{kind} as kind from {relation} e where e.pipeline_id = p.id limit few.most) f
            union all
            (select 0, e.{kind} from {relation} e where e.pipeline_id is null limit (select most from few))),
        counted as (
            select f.pipeline_id, f.kind, count(*) as rows,
                   sum(count(*)) over (partition by f.pipeline_id) < (select most from few) as is_all
            from first f group by 1, 2),
        whole as (select distinct c.pipeline_id from counted c where c.is_all)
        select c.pipeline_id, c.kind, c.rows, false from counted c where c.is_all
        union all
        select pipeline_id, kind, greatest(c.rows, s.rows)::bigint, true
        from (select * from counted where not is_all) c full join sampled s using (pipeline_id, kind)
        where pipeline_id not in (select w.pipeline_id from whole w)
        $q$ end, jsonb_build_object(
            'relation', relation, 'kind', quote_ident(column_of_kind), 'sample', _sample(percent)))
        using 100 / percent;
end $$;
