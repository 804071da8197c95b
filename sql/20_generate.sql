-- The code of a pipeline is generated: it names the pipeline's own columns and types, so it needs no dynamic
-- SQL in a writer's transaction and its plans are Postgres's own business.
--
--   pipeline_N_on_insert, _on_update   triggers; run as the owner of this schema, because writers have no right
--                                      on the queue; they call nothing of the user's
--   pipeline_N_clear                   trigger, with on_update => 'clear' only
--   pipeline_N_as_owner, _gone         what we look up in the source: as the owner of it, see below
--   more for an embedding table: see 25_generate_table.sql
--   pipeline_N_read, pipeline_N_write  run as the owner of the source table, under the search_path of whoever
--                                      created the pipeline: here the user's content function and triggers run,
--                                      and must have no more rights than their table's owner
--
-- Our own names in them are all qualified, so that no search_path matters to us.
--
-- They stand in a schema of their own, pgembedd_code, on which nobody is ever granted anything: the owner of a function
-- may alter it, and one that was made SECURITY INVOKER would run the table owner's code with our rights. Who may not
-- use its schema cannot name it. For the same reason nothing of ours reads a user's table but through these functions:
-- Postgres runs code of a table's owner (a domain's CHECK, a function in an index's WHERE) already as it plans.

create or replace function pgembedd._pipeline_function(id integer, verb text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('pgembedd_code.pipeline_%s_%s', id, verb) $$;

create or replace function pgembedd._base_type(type oid) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive t(oid, base) as (
        select p.oid, p.typbasetype from pg_type p where p.oid = type
        union all select p.oid, p.typbasetype from t join pg_type p on p.oid = t.base)
    select t.oid from t where t.base = 0
$$;

create or replace function pgembedd._qualified_type(type oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('%I.%I', n.nspname, t.typname)
    from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = type
$$;

-- What the primary key's columns are: name, type, the equality operator of the key's own index, and the type to
-- compare in, which for a domain is what it is made of: operators on "any enum" and the like do not take domains.
create or replace function pgembedd._key_columns(source regclass)
returns table (nth bigint, name text, type text, equals text, base oid, compared text)
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select k.nth, a.attname, _qualified_type(t.oid), format('operator(%I.%s)', n.nspname, o.oprname),
           _base_type(t.oid), case when t.typtype = 'd' and o.oprleft <> _base_type(t.oid) then '::' || _qualified_type(_base_type(t.oid)) else '' end
    from pg_index i
    cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality as k(attnum, opclass, nth)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    join pg_type t on t.oid = a.atttypid
    join pg_opclass c on c.oid = k.opclass and c.opcmethod = (select a.oid from pg_am a where a.amname = 'btree')
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where i.indrelid = source and i.indisprimary and k.nth <= i.indnkeyatts
    order by k.nth
$$;

-- The key of a row as the message carries it: the bare value, or an object when the key is composite.
-- Types from outside pg_catalog go through their output function alone: to_jsonb would run a cast to json
-- that a user may have defined, inside the writer's transaction.
create or replace function pgembedd._key_json(source regclass, alias text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when count(*) = 1 then min(value)
                else format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', name, value), ', ')) end
    from (select name, case when base < 16384 then format('pg_catalog.to_jsonb(%s.%I)', alias, name)
                            else format('pg_catalog.to_jsonb(pg_catalog.format(''%%s'', %s.%I))', alias, name) end
          from _key_columns(source)) as k(name, value)
$$;

-- FROM item `k` with the key's columns in their own types, out of the jsonb expression `id`.
create or replace function pgembedd._key_record(source regclass, id text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('pg_catalog.jsonb_to_record(%s) as k(%s)',
                  case when count(*) = 1 then format('pg_catalog.jsonb_build_object(%L, %s)', min(name), id) else id end,
                  string_agg(format('%I %s', name, type), ', '))
    from _key_columns(source)
$$;

create or replace function pgembedd._key_match(source regclass, a text, b text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select string_agg(format('%1$s.%3$I%5$s %4$s %2$s.%3$I%5$s', a, b, name, equals, compared), ' and ')
    from _key_columns(source)
$$;

-- The write gathers key, hash and vector in one row, where a key column may be called like one of ours.
create or replace function pgembedd._key_numbered(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select string_agg(format('k.%I as key_%s', name, nth), ', ') from _key_columns(source) $$;

create or replace function pgembedd._key_match_numbered(source regclass, a text, b text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select string_agg(format('%1$s.%2$I%6$s %3$s %4$s.key_%5$s%6$s', a, name, equals, b, nth, compared), ' and ')
    from _key_columns(source)
$$;

-- Settings under which a key is written down the same whatever the writer has set; none where the key's types do
-- not ask for any, since every one costs each statement a little.
create or replace function pgembedd._key_settings(source regclass) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when bool_and(base = any ('{int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,bool,date,timestamp}'
                                          ::regtype[])) then ''
                else 'set datestyle = ''ISO'' set intervalstyle = ''postgres'' set extra_float_digits = ''1'' set timezone = ''UTC''' end
    from _key_columns(source)
$$;

create or replace function pgembedd._content(pipeline pgembedd.pipeline, alias text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when pipeline.content_function is not null
                -- s.* and not s, which would be the column of that name where there is one
                then format('%s(%s.*)::pg_catalog.text', pipeline.content_function, alias)
                else format('pg_catalog.concat_ws(E''\n\n'', %s)',
                            (select string_agg(format('%s.%I', alias, c), ', ')
                             from unnest(pipeline.content_columns) as c)) end
$$;

create or replace function pgembedd._hash(content text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('pg_catalog.sha256(pg_catalog.convert_to(coalesce(%s, ''''), ''UTF8''))', content) $$;

create or replace function pgembedd._record(columns text[], alias text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select format('row(%s)::pg_catalog.record', string_agg(format('%s.%I', alias, c), ', ')) from unnest(columns) as c $$;

-- The INSERT that enqueues: pgmq.send_batch takes an array, which has a limit that would abort the user's
-- statement; a plain INSERT has none and is the cheapest for one row, too. `rows` is a FROM item, `key` its key.
create or replace function pgembedd._enqueue(pipeline pgembedd.pipeline, queue text, key text, rows text)
returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    -- jsonb_set into a constant is the cheapest way to make 100,000 messages that differ in one value. The trace context
    -- is asked for once a statement, as a subquery of nothing; a backfill is nobody's trace.
    select format($q$insert into %s (vt, message%s) select clock_timestamp(), pg_catalog.jsonb_set(%L::jsonb, '{id}', %s)%s from %s$q$,
        _queue_table(queue),
        case when queue <> pipeline.backfill_queue then ', headers' else '' end,
        jsonb_strip_nulls(jsonb_build_object(
            'id', 0, 'pipeline', pipeline.id, 'schema', n.nspname, 'table', c.relname,
            'contentFunction', pipeline.content_function, 'embeddingColumn', pipeline.embedding_column)),
        key,
        case when queue <> pipeline.backfill_queue then ', ' || _trace_headers() else '' end,
        rows)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = pipeline.source
$$;

-- A transition table as a FROM item: the columns that our code names, and null in the place of one that was renamed or
-- dropped since, because a writer must not fail of it. A name that the inner SELECT does not find among the table's
-- columns is looked for outside of it, among the nulls; the planner makes nothing of all this but the scan. Without its
-- key a row cannot be named, and is left out (IS NOT NULL would leave out some values of composite types, too).
create or replace function pgembedd._rows(pipeline pgembedd.pipeline, transition text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    with named as (
        select d.c as name, coalesce('::' || k.type, '') as type
        from (select distinct c from unnest(pipeline.key_columns || pipeline.watch_columns || pipeline.embedding_column) as c) d
        left join _key_columns(pipeline.source) k on k.name = d.c
        where d.c is not null)
    select format('(select v.* from (select %s) f cross join %I r cross join lateral (select %s from (select r.*) x) v where %s)',
        string_agg(format('null%s as %I', type, name), ', ' order by name), transition,
        string_agg(quote_ident(name), ', ' order by name),
        (select string_agg(format('v.%I is distinct from null', k), ' and ') from unnest(pipeline.key_columns) as k))
    from named
$$;

-- Types of the key that bring operators or casts of their own: after a change of type those may not fit any more.
create or replace function pgembedd._brittle(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select coalesce(bool_or(not starts_with(equals, 'operator(pg_catalog.') or compared <> ''), false) from _key_columns(source)
$$;

-- What is wrong with our code since somebody altered the table is no reason for a writer's statement to fail. This is a
-- subtransaction, which a transaction of many small statements would feel: only where nothing cheaper will do.
create or replace function pgembedd._forgiven(pipeline pgembedd.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format($q$
exception
    when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
        raise warning 'pgembedd could not note this change for the pipeline "%%": %%', %L, sqlerrm;$q$, pipeline.name)
$$;

-- Statements over 1,000 rows go to the backfill lane, so that a bulk load does not stand before fresh writes.
create or replace function pgembedd._trigger_body(pipeline pgembedd.pipeline, before text, key text, rows text, after text)
returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($body$
#variable_conflict use_column
declare
    large boolean;
    something boolean;
    nestloop text;
    gone jsonb[];
begin
    %1$s
    large := exists (select from new_rows offset 1000);
    something := false;
    -- A database restored without its queues must still take writes; the sweep finds the rows later.
    if large and to_regclass(%2$L) is not null then
        %3$s;
        something := found;
    elsif not large and to_regclass(%4$L) is not null then
        %5$s;
        something := found;
    end if;
    %8$s
    if something and (select last_value from pgembedd.worker_idle) = 1 then
        perform pg_notify('pgembedd', case when large then %6$L else %7$L end);
    end if;
    return null;%9$s
end $body$,
        before,
        _queue_table(pipeline.backfill_queue), _enqueue(pipeline, pipeline.backfill_queue, key, rows),
        _queue_table(pipeline.queue), _enqueue(pipeline, pipeline.queue, key, rows),
        pipeline.backfill_queue, pipeline.queue, after,
        case when _brittle(pipeline.source) then _forgiven(pipeline) || ' return null;' else '' end)
$$;

create or replace function pgembedd._generate_triggers(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    on_insert text := _pipeline_function(pipeline.id, 'on_insert');
    on_update text := _pipeline_function(pipeline.id, 'on_update');
    clear text := _pipeline_function(pipeline.id, 'clear');
    installer regrole := (select nspowner from pg_namespace where nspname = 'pgembedd');
    first_key text := (select name from _key_columns(pipeline.source) limit 1);
    compared text[] := array_remove(pipeline.watch_columns || pipeline.embedding_column, null);
    new_rows text := _rows(pipeline, 'new_rows');
    old_rows text := _rows(pipeline, 'old_rows');
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_insert, _key_settings(pipeline.source),
        _trigger_body(pipeline, '', _key_json(pipeline.source, 'n'), new_rows || ' n', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_update, _key_settings(pipeline.source),
        _trigger_body(pipeline,
            -- Most updates touch one row, and nothing of ours in it: they must get by with one look. Of several rows
            -- some pair differs in any case, at least in its key, so a statement that has no pair has nothing to do.
            -- Our own store fires this trigger too; what a user's trigger changes during it (depth > 1) still counts.
            -- plpgsql would keep the nested-loop plan of single-row updates for a statement over 20,000 rows.
            format($before$
    select true into something from %4$s n left join %5$s o on true where %1$s operator(pg_catalog.*<>) %2$s;
    if something is null then return null; end if;
    if current_setting('pgembedd.storing', true) = %3$L and pg_trigger_depth() = 1 then return null; end if;
    nestloop := current_setting('enable_nestloop');
    perform set_config('enable_nestloop', 'off', true);$before$,
                _record(pipeline.key_columns || compared, 'n'), _record(pipeline.key_columns || compared, 'o'), pipeline.id,
                new_rows, old_rows),
            _key_json(pipeline.source, 'n'),
            -- Images are compared, not values: = does not exist for json, and no operator of a user's may run here.
            format('%s n left join %s o on %s where o.%I is null or %s operator(pg_catalog.*<>) %s', new_rows, old_rows,
                _key_match(pipeline.source, 'n', 'o'), first_key, _record(compared, 'n'), _record(compared, 'o')),
            case when pipeline.embedding_table is not null then _forget_old(pipeline, first_key, compared) else '' end
            || 'perform set_config(''enable_nestloop'', nestloop, true);'));
    perform _own(on_insert || '()', installer), _own(on_update || '()', installer);
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null then
        execute format('create or replace function %s() returns trigger language plpgsql
                        set search_path = pg_catalog, pg_temp as %L', clear,
            -- Assigning to a column that was renamed would fail; a name that is not there is passed over here.
            format('begin return pg_catalog.jsonb_populate_record(new, %L); end', jsonb_build_object(pipeline.embedding_column, null)));
        perform _own(clear || '()', installer);
    end if;
end $$;

-- The chunks of rows that have another key now, and with on_update => 'clear' those of rows that changed.
create or replace function pgembedd._forget_old(pipeline pgembedd.pipeline, first_key text, compared text[]) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$
    select array_agg(%s) into gone from %s o left join %s n on %s where n.%I is null%s;
    if gone is not null then perform %s(gone); end if;
    $q$, _key_json(pipeline.source, 'o'), _rows(pipeline, 'old_rows'), _rows(pipeline, 'new_rows'),
        _key_match(pipeline.source, 'n', 'o'), first_key,
        case when pipeline.on_update = 'clear'
             then format(' or %s operator(pg_catalog.*<>) %s', _record(compared, 'n'), _record(compared, 'o')) else '' end,
        _pipeline_function(pipeline.id, 'forget'))
$$;

create or replace function pgembedd._generate_read(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    read text := _pipeline_function(pipeline.id, 'read');
begin
    execute format('create or replace function %s(ids jsonb[]) returns table (n bigint, content text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', read,
        format('begin return query execute %L using ids; end', format($q$
        select i.n, %s from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral %s
        join %s s on %s $q$,
            _content(pipeline, 's'), _key_record(pipeline.source, 'i.id'), pipeline.source,
            _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, read || '(pg_catalog.jsonb[])');
end $$;

-- The compare-and-set. Rows are locked without waiting; a vector is written only where the content is still the
-- one it was made from, and only if it differs; the content is hashed again after the write, because a BEFORE
-- trigger of the user's may have changed it. EXECUTE plans afresh each time: a plan kept from when the table
-- was small would scan it when it is large.
create or replace function pgembedd._generate_write(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    write text := _pipeline_function(pipeline.id, 'write');
    vectors text := format('%s[]', _vector_type('vector'));
begin
    execute format('create or replace function %s(ids jsonb[], hashes bytea[], embeddings %s)
                    returns table (n bigint, outcome text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', write, vectors,
        format($body$
begin
    perform pg_catalog.set_config('pgembedd.storing', %L, true);
    return query execute %L using ids, hashes, embeddings;
    perform pg_catalog.set_config('pgembedd.storing', '', true);
end $body$, pipeline.id, format($q$
        with input as materialized (
            select i.n, i.hash, i.embedding::%1$s as embedding, %7$s
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, embedding, n)
            cross join lateral %2$s),
        locked as materialized (
            select i.n, %3$s operator(pg_catalog.=) i.hash as current,
                   row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record as differs
            from input i join %4$s s on %5$s
            for no key update of s skip locked),
        written as (
            update %4$s s set %6$I = i.embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            where l.current and %5$s
              and row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record
            returning i.n, %3$s operator(pg_catalog.=) i.hash as current,
                      s.%6$I is null and i.embedding is not null as emptied)
        select i.n, case
            when l.n is null and exists (select from %4$s s where %5$s) then 'locked'
            when l.n is null then 'gone'
            when not l.current then 'changed'
            when w.emptied or w.n is null and l.differs then 'refused'
            when w.n is null then 'unchanged'
            when not w.current then 'rewritten'
            when i.embedding is null then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n
        left join written w on w.n operator(pg_catalog.=) i.n $q$,
            format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions),
            _key_record(pipeline.source, 'i.id'), _hash(_content(pipeline, 's')), pipeline.source,
            _key_match_numbered(pipeline.source, 's', 'i'), pipeline.embedding_column,
            _key_numbered(pipeline.source))));
    perform _run_as_owner(pipeline, format('%s(pg_catalog.jsonb[], pg_catalog.bytea[], %s)', write, vectors));
end $$;

-- halfvec or vector, qualified: the extension may live in any schema.
create or replace function pgembedd._vector_type(name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('%I.%I', n.nspname, $1)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$$;

create or replace function pgembedd._own(signature text, owner regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('revoke all on function %s from public', signature);
    if (select proowner from pg_proc where oid = signature::regprocedure) <> owner then
        execute format('alter function %s owner to %s', signature, owner);
    end if;
end $$;

-- Hand a generated function to the owner of the source table. The new owner of a function needs CREATE on its
-- schema at that moment, and only then. Nobody stands in for the owner, whatever the table is like: the owner's
-- content function and triggers would run with that role's rights.
create or replace function pgembedd._run_as_owner(pipeline pgembedd.pipeline, signature text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    installer regrole := (select nspowner from pg_namespace where nspname = 'pgembedd');
    source_owner regrole := (select relowner from pg_class where oid = pipeline.source);
begin
    -- What search_path may hold is not always what SET takes: a connection's options need no quotes.
    perform set_config('search_path', pipeline.search_path, true);
    execute pg_catalog.format('alter function %s set search_path from current', signature);
    perform pg_catalog.set_config('search_path', 'pg_catalog, pgembedd, pg_temp', true);
    if source_owner = installer then
        perform _own(signature, installer);
        return;
    end if;
    -- Our rows carry no content, but these functions do: nobody but the installer's own functions may call them.
    if not has_schema_privilege(source_owner, 'pgembedd_code', 'create') then
        execute format('grant create on schema pgembedd_code to %s', source_owner);
        perform _own(signature, source_owner);
        execute format('revoke create on schema pgembedd_code from %s', source_owner);
    else
        perform _own(signature, source_owner);
    end if;
    execute format('grant execute on function %s to %s', signature, installer);
end $$;

-- Statements of ours over a user's tables, with the rights of their owner and no more.
create or replace function pgembedd._generate_as_owner(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    as_owner text := _pipeline_function(pipeline.id, 'as_owner');
    gone text := _pipeline_function(pipeline.id, 'gone');
begin
    execute format('create or replace function %s(statement text) returns setof jsonb language plpgsql security definer
                    set row_security = off %s as %L', as_owner, _key_settings(pipeline.source),
        'begin return query execute statement; end');
    -- Which of these keys no row has. Where one cannot even be a key they are tried one by one, and that one is left out.
    execute format('create or replace function %s(ids jsonb[]) returns setof jsonb language plpgsql security definer
                    set row_security = off %s as %L', gone, _key_settings(pipeline.source), format($body$
declare
    id jsonb;
begin
    begin
        return query execute %1$L using ids;
        return;
    exception when data_exception or integrity_constraint_violation then null;
    end;
    foreach id in array ids loop
        begin
            return query execute %1$L using array[id];
        exception when data_exception or integrity_constraint_violation then null;
        end;
    end loop;
end $body$, format('select i.id from pg_catalog.unnest($1) as i(id) cross join lateral %s where not exists (select from %s s where %s)',
            _key_record(pipeline.source, 'i.id'), pipeline.source, _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, as_owner || '(pg_catalog.text)'), _run_as_owner(pipeline, gone || '(pg_catalog.jsonb[])');
end $$;

-- One value that a statement over the source gives, asked as its owner.
create or replace function pgembedd._ask(pipeline pgembedd.pipeline, statement text) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    answer jsonb;
begin
    execute format('select a from %s($1) as a', _pipeline_function(pipeline.id, 'as_owner')) into answer using statement;
    return answer;
end $$;

-- The same for a pipeline that is still being made and has no functions yet.
create or replace function pgembedd._ask_once(made pgembedd.pipeline, statement text) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    signature text := format('pgembedd_code.pipeline_0_once_%s()', pg_backend_pid());
    answer jsonb;
begin
    execute format('create function %s returns jsonb language plpgsql security definer set row_security = off as %L', signature,
        format('declare answer pg_catalog.jsonb; begin execute %L into answer; return answer; end', statement));
    perform _run_as_owner(made, signature);
    execute format('select %s', signature) into answer;
    execute format('drop function %s', signature);
    return answer;
end $$;

create or replace function pgembedd._generate(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _generate_as_owner(pipeline);
    if pipeline.embedding_table is null then
        perform _generate_read(pipeline), _generate_write(pipeline);
    else
        perform _generate_chunks_read(pipeline), _generate_chunks_write(pipeline), _generate_chunks_forget(pipeline);
        perform _ensure_view(pipeline), _mirror_rights(pipeline);
    end if;
    if pipeline.own_triggers and pipeline.triggers then
        perform _generate_triggers(pipeline);
        if pipeline.enable_always then perform _generate_on_row(pipeline); end if;
        perform _attach(pipeline);
    end if;
    update pipeline p
    set shape = _shape(p), source_name = p.source::text, embedding_table_name = p.embedding_table::text
    where p.id = _generate.pipeline.id;
end $$;

-- The statement triggers of a pipeline: its chunks go with a row, where it has chunks.
create or replace function pgembedd._triggers(pipeline pgembedd.pipeline) returns table (verb text, event text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select t.verb, t.event
    from (values ('insert', 'after insert on %s referencing new table as new_rows', true),
                 ('update', 'after update on %s referencing old table as old_rows new table as new_rows', true),
                 ('delete', 'after delete on %s referencing old table as old_rows', false),
                 ('truncate', 'after truncate on %s', false)) as t(verb, event, always)
    where t.always or pipeline.embedding_table is not null
$$;

-- Statement triggers on the table, and for a partitioned one on every leaf as well: a statement fires only the
-- triggers of the table it names. Called again by the upkeep, for partitions attached later.
create or replace function pgembedd._attach(pipeline pgembedd.pipeline) returns integer
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    relation regclass;
    item record;
    attached integer := 0;
    prefix text := format('pgembedd_%s_', pipeline.id);
begin
    if not (pipeline.own_triggers and pipeline.triggers) then return 0; end if;
    for relation in
        select pipeline.source union
        select t.relid from pg_partition_tree(pipeline.source) t join pg_class c on c.oid = t.relid where c.relkind in ('r', 'p')
    loop
        continue when (
            select bool_and(exists (select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || t.verb))
            from _triggers(pipeline) t);
        for item in select t.verb, t.event from _triggers(pipeline) t loop
            if exists (select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || item.verb) then
                execute format('drop trigger %I on %s', prefix || item.verb, relation);
            end if;
            execute format('create trigger %I %s for each statement execute function %s()', prefix || item.verb,
                format(item.event, relation), _pipeline_function(pipeline.id, 'on_' || item.verb));
        end loop;
        attached := attached + 1;
    end loop;
    -- A row trigger on the root is Postgres's to clone to the partitions.
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null and not exists (
        select from pg_trigger where tgrelid = pipeline.source and tgname = prefix || 'clear')
    then
        execute format('create trigger %I before update on %s for each row when (%s operator(pg_catalog.*<>) %s)
                        execute function %s()',
            prefix || 'clear', pipeline.source, _record(pipeline.watch_columns, 'new'),
            _record(pipeline.watch_columns, 'old'), _pipeline_function(pipeline.id, 'clear'));
    end if;
    perform _attach_replica(pipeline);
    return attached;
end $$;
