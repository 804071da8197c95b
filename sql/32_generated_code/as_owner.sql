-- Gives a function to a role, which needs CREATE on the schema at that moment, and only then; not if a superuser gives.
create or replace function pgembedd_internal._set_owner(signature text, owner regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
    function record;
begin
    select p.proowner as owner, p.pronamespace::regnamespace as schema,
           p.proacl is null or 0 = any (array(select a.grantee from aclexplode(p.proacl) a)) as is_public
    into function from pg_proc p where p.oid = signature::regprocedure;
    if function.is_public then execute format('revoke all on function %s from public', signature); end if;
    if function.owner = owner then
        return;
    elsif has_schema_privilege(owner, function.schema, 'create')
        or (select r.rolsuper from pg_roles r where r.rolname = current_user)
    then
        execute format('alter function %s owner to %s', signature, owner);
    else
        execute format('grant create on schema %s to %s', function.schema, owner);
        execute format('alter function %s owner to %s', signature, owner);
        execute format('revoke create on schema %s from %s', function.schema, owner);
    end if;
end $$;

-- Makes a function of a pipeline's code that runs as the owner of the source table, under the search_path of the role
-- that created the pipeline: so the types of its parameters and of its result are qualified. No other role stands in
-- for the owner: the owner's content function and triggers would run with that role's rights. One role may call it:
-- _runner(), of which the installer is a member, where its statements are `fixed`, else the installer: one that takes a
-- statement would give _runner() all that the owner may.
create or replace function pgembedd_internal._generate_for_owner(
    pipeline pgembedd_internal.pipeline, verb text, parameters text, result text, settings text, body text,
    fixed boolean default true
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    signature constant text := format('%s(%s)', _pipeline_function(coalesce(pipeline.id, 0), verb), parameters);
    caller constant regrole := case when fixed then _runner() else _owner_of_schema() end;
begin
    -- What search_path may hold is not always what SET takes: a connection's options need no quotes.
    perform set_config('search_path', pipeline.search_path, true);
    execute pg_catalog.format('create or replace function %s returns %s language plpgsql security definer
        set row_security = off %s set search_path from current as %L', signature, result, settings, body);
    perform pg_catalog.set_config('search_path', 'pg_catalog, pgembedd_internal, pgembedd, pg_temp', true);
    perform _set_owner(signature, _owner(pipeline.source));
    -- Our rows carry no content, but these functions do: no other role may call them.
    perform _revoke_from_others('function ' || signature, f.proacl, array[f.proowner, caller::oid])
    from pg_proc f where f.oid = signature::regprocedure;
    perform _let_call(caller, signature);
end $$;

-- Lets a role, or all with 0, call a function, where it may not.
create or replace function pgembedd_internal._let_call(role oid, signature text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if not exists (select from pg_proc f cross join aclexplode(f.proacl) a
                   where f.oid = signature::regprocedure and a.grantee = role) then
        execute format('grant execute on function %s to %s', signature,
            case role when 0 then 'public' else role::regrole::text end);
    end if;
end $$;

-- Takes an object from all roles but these and PUBLIC: default privileges may have granted it to others. A restore
-- grants on an object in one statement, which fails where one of its roles is missing, so what a writer's statement
-- needs is granted to one role alone.
create or replace function pgembedd_internal._revoke_from_others(object text, acl aclitem[], roles oid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    other regrole;
begin
    for other in select distinct a.grantee from aclexplode(acl) a where a.grantee <> all (roles || 0::oid) loop
        execute format('revoke all on %s from %s cascade', object, other);
    end loop;
end $$;

-- Statements over a user's tables, with the rights of their owner and no more: any, for the installer alone; and which
-- of some keys no row has. Where one cannot even be a key they are tried one by one, and that one is left out.
create or replace function pgembedd_internal._generate_as_owner(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'as_owner', 'pg_catalog.text', 'setof pg_catalog.jsonb',
        _key_settings(pipeline.source),
        'begin return query execute $1; set constraints all immediate; end', fixed => false),
        _generate_for_owner(pipeline, 'gone', 'pg_catalog.jsonb[]', 'setof pg_catalog.jsonb',
        _key_settings(pipeline.source), format($body$
declare
    id jsonb;
begin
    %2$s
    begin
        return query execute %1$L using $1;
        return;
    exception when data_exception or integrity_constraint_violation then null;
    end;
    foreach id in array $1 loop
        begin
            return query execute %1$L using array[id];
        exception when data_exception or integrity_constraint_violation then null;
        end;
    end loop;
end $body$, format('select i.id from pg_catalog.unnest($1) as i(id) cross join '
                   'lateral %s where not exists (select from %s s where %s)',
            _key_record(pipeline.source, 'i.id'), pipeline.source, _key_match(pipeline.source, 's', 'k')),
        _refuse_others(pipeline)))
$$;

-- Code of a table's owner, called below a function of ours, could set search_path for the session: that overrides
-- the SET clause of the caller, which would look its next names up in the owner's schema. A cursor WITH HOLD runs
-- its query at COMMIT, as the session's user; a prepared statement may stand in the place of the client's. So every
-- call of a generated function that runs as the owner is either undone (_query_and_undo, read) or followed by this,
-- which raises unless the path is the caller's own and no cursor was left; the error undoes both. Not pinned to a
-- search_path itself, hence the qualified names.
create or replace function pgembedd_internal._check_session() returns void
language plpgsql
as $$
begin
    perform pgembedd_internal._check_path('pg_catalog, pgembedd_internal, pgembedd, pg_temp');
    if exists (select from pg_catalog.pg_cursors c where c.is_holdable
               and c.creation_time operator(pg_catalog.>=) pg_catalog.statement_timestamp()) then
        raise exception 'A function that the table or its content uses leaves a cursor WITH HOLD open.'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    perform pgembedd_internal._drop_prepared();
end $$;

-- The path alone, for our triggers: cursors and prepared statements of a writer's session are the writer's own. A SET
-- clause that was made under quote_all_identifiers spells the same path with quotes; to leave quotes out of the
-- comparison would take a single schema with commas in its name for it.
create or replace function pgembedd_internal._check_path(expected text) returns void
language plpgsql
as $$
begin
    if pg_catalog.current_setting('search_path') operator(pg_catalog.<>) expected
        and pg_catalog.current_setting('search_path') operator(pg_catalog.<>) pg_catalog.format('"%s"',
            pg_catalog.replace(expected, ', ', '", "'))
    then
        raise exception 'A function that the table or its content uses sets search_path for the whole session.'
            using errcode = 'object_not_in_prerequisite_state',
                hint = 'Give the function a clause of its own: ALTER FUNCTION ... SET search_path = ...';
    end if;
end $$;

-- Removes statements that were prepared in SQL during the client's present statement, which nothing undoes.
create or replace function pgembedd_internal._drop_prepared() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    item record;
begin
    for item in
        select s.name from pg_prepared_statements s where s.from_sql and s.prepare_time >= statement_timestamp()
    loop
        execute format('deallocate %I', item.name);
    end loop;
end $$;

-- The value of a query; all that is done meanwhile is undone.
create or replace function pgembedd_internal._query_and_undo(query text, argument text default null) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    answer jsonb;
    answered boolean := false;
begin
    begin
        execute query into answer using argument;
        answered := true;
        raise exception using errcode = 'PGE02';
    exception when sqlstate 'PGE02' then
        if not answered then raise; end if;  -- the owner's code may raise it, too
    end;
    perform _drop_prepared();
    return answer;
end $$;

-- The value of a query over the source, asked as its owner; a role that acts for the table's owner and not for ours
-- asks as itself, with the settings of _key_settings.
create or replace function pgembedd_internal._ask(pipeline pgembedd_internal.pipeline, query text) returns jsonb
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'
set bytea_output = 'hex'
as $$
    select _query_and_undo(case when has_schema_privilege('pgembedd_code', 'usage')
                        then format('select a from %s($1) as a', _pipeline_function(pipeline.id, 'as_owner'))
                        else query end, query)
$$;

-- Runs a statement as the owner of the source of a pipeline that is still being made and may have no functions. Returns
-- the value of a query; what is done meanwhile is undone then.
create or replace function pgembedd_internal._execute_once(
    made pgembedd_internal.pipeline, statement text, is_query boolean default false
) returns jsonb
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    verb constant text := format('once_%s', pg_backend_pid());
    called constant text := _pipeline_function(coalesce(made.id, 0), verb) || '()';
    answer jsonb;
begin
    perform _generate_for_owner(made, verb, '', 'pg_catalog.jsonb', '', format(
        'declare answer pg_catalog.jsonb;
         begin execute %L %s; set constraints all immediate; return answer; end', statement,
        case when is_query then 'into answer' end), fixed => false);
    if is_query then
        answer := _query_and_undo('select ' || called);
    else
        execute 'select ' || called;
        perform pgembedd_internal._check_session();
    end if;
    execute 'drop function ' || called;
    return answer;
end $$;
