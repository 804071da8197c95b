-- Triggers of others that give these two arguments on; they need not be the first.
create or replace function pgembedd._triggers_of_others(source regclass, content_function text, embedding_column text)
returns setof pg_catalog.pg_trigger
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- tgargs ends each argument with a zero byte, which no text can hold: escaped it is \000.
    select t.* from pg_trigger t join pg_proc f on f.oid = t.tgfoid
    where t.tgrelid = source and not t.tgisinternal and t.tgenabled <> 'D'
      and f.pronamespace <> 'pgembedd_code'::regnamespace
      and string_to_array(encode(t.tgargs, 'escape'), '\000') @> array[
        encode(convert_to(content_function, getdatabaseencoding()), 'escape'),
        encode(convert_to(embedding_column, getdatabaseencoding()), 'escape')]
$$;

-- The name in a message is no SQL: dots part it, and nothing folds it. It may have its schema before it; if not, it is
-- looked for beside the table and in public.
create or replace function pgembedd._guest_function(source regclass, given text) returns regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, '^.*\.', ''), source))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    cross join lateral unnest(case when given like '%.%' then array[substring(given from '^(.*)\.')]
                                   else array[n.nspname::text, 'public'] end) with ordinality as s(name, nth)
    where c.oid = source
      and to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, '^.*\.', ''), source)) is not null
    order by s.nth limit 1
$$;

-- The guide's trigger sends NEW.id, a bare value: it has to be the whole key.
create or replace function pgembedd._check_guest_key(wanted pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if cardinality(wanted.key_columns) > 1 then
        perform _refuse(format('%s has a key of %s columns, but its trigger sends one value.', wanted.source,
            cardinality(wanted.key_columns)),
            'Register it with pgembedd.create_pipeline(), whose triggers send the whole key.');
    elsif wanted.key_columns <> '{id}' and exists (
        select from pg_attribute a where a.attrelid = wanted.source and a.attname = 'id' and not a.attisdropped) then
        perform _refuse(format('%s has a column id, but its primary key is "%s": '
                               'which of them its trigger sends is not known.',
                wanted.source, wanted.key_columns[1]),
            'Register it with pgembedd.create_pipeline(), whose triggers send the primary key.');
    end if;
end $$;

create or replace function pgembedd._check_consent(
    wanted pgembedd.pipeline, given text, function regprocedure
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    owner oid := (select relowner from pg_class where oid = wanted.source);
    author oid := (select proowner from pg_proc where oid = function);
begin
    if not exists (select from _triggers_of_others(wanted.source, given, wanted.embedding_column)) then
        perform _refuse(format('No trigger on %s has the arguments (%L, %L), so its owner did not ask for this.',
                wanted.source, given, wanted.embedding_column),
            'Make one that sends its jobs, or register the table with pgembedd.create_pipeline().');
    elsif function is null then
        perform _refuse(format('There is no function %s(%s), neither beside the table nor in public.', given,
            wanted.source),
            'Create it; it takes one row of the table and returns text.');
    elsif author <> owner and author <> (select nspowner from pg_namespace where nspname = 'pgembedd')
          and not (select rolsuper from pg_roles where oid = author) then
        perform _refuse(format('%s belongs to %s, but would run as %s, who owns the table.', function, author::regrole,
            owner::regrole),
            format('If its code may do that, run ALTER FUNCTION %s OWNER TO %s.', function, owner::regrole));
    end if;
end $$;

-- The triggers that send a guest's jobs, however they write its function.
create or replace function pgembedd._guest_triggers(host pgembedd.pipeline) returns setof pg_catalog.pg_trigger
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select t.* from pg_proc f join pg_namespace n on n.oid = f.pronamespace
    cross join lateral unnest(array[f.proname::text, n.nspname || '.' || f.proname]) as given(name)
    cross join lateral _triggers_of_others(host.source, given.name, host.embedding_column) t
    where f.oid = to_regprocedure(format('%s(%s)', host.content_function, host.source))
$$;
