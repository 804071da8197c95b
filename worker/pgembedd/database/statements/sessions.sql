-- name: clean_session
-- Removes what a user's code left in the session, and sets its limit in ms again, if it has one. Not DISCARD ALL, which
-- ends LISTEN and forgets the plans of functions.
reset all; deallocate all; close all; discard temp;
select pg_catalog.pg_advisory_unlock_all(), pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false),
       pg_catalog.set_config('quote_all_identifiers', 'off', false),
       pg_catalog.set_config('array_nulls', 'on', false),
       pg_catalog.set_config('datestyle', 'ISO', false),
       pg_catalog.set_config('intervalstyle', 'postgres', false),
       pg_catalog.set_config('extra_float_digits', '1', false),
       pg_catalog.set_config('bytea_output', 'hex', false),
       pg_catalog.set_config('transform_null_equals', 'off', false),
       pg_catalog.set_config('row_security', 'on', false),
       pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
       (select pg_catalog.set_config('statement_timeout', {limit_ms}, false) where {limit_ms} is not null)

-- name: is_read_only
-- Whether the server takes no writes: a standby, or one that its provider has made read-only.
select pg_catalog.pg_is_in_recovery() or s.reset_val operator(pg_catalog.=) 'on'
from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'default_transaction_read_only'

-- name: process
-- The number of the server's process, which a pooler hides.
select pg_catalog.pg_backend_pid()

-- name: pin_path
-- For this transaction or the session, with the settings under which texts and statements mean what we take them for,
-- whatever the defaults of the role and the database; the role's own path is kept.
select pg_catalog.set_config('pgembedd.own_path', pg_catalog.current_setting('search_path'), %(in_transaction)s),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', %(in_transaction)s),
       pg_catalog.set_config('standard_conforming_strings', 'on', %(in_transaction)s),
       pg_catalog.set_config('quote_all_identifiers', 'off', %(in_transaction)s),
       pg_catalog.set_config('array_nulls', 'on', %(in_transaction)s),
       pg_catalog.set_config('datestyle', 'ISO', %(in_transaction)s),
       pg_catalog.set_config('intervalstyle', 'postgres', %(in_transaction)s),
       pg_catalog.set_config('extra_float_digits', '1', %(in_transaction)s),
       pg_catalog.set_config('bytea_output', 'hex', %(in_transaction)s),
       pg_catalog.set_config('transform_null_equals', 'off', %(in_transaction)s),
       pg_catalog.set_config('row_security', 'on', %(in_transaction)s),
       pg_catalog.set_config('default_transaction_isolation', 'read committed', %(in_transaction)s)

-- name: own_path
-- The role's own path, where it was pinned, for this transaction.
select pg_catalog.set_config('search_path', pg_catalog.current_setting('pgembedd.own_path'), true)
where pg_catalog.current_setting('pgembedd.own_path', true) operator(pg_catalog.<>) ''

-- name: limit_session
-- The lower one of a limit in ms and the role's own, from now on the limit of each statement, of this transaction or
-- the session; the process that serves it.
select l.limit_ms, pg_catalog.pg_backend_pid(),
       pg_catalog.set_config('statement_timeout', l.limit_ms::pg_catalog.text, %(in_transaction)s)
from (select least(%(limit_ms)s::pg_catalog.int4, nullif(s.setting::pg_catalog.int4, 0)) as limit_ms
      from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'statement_timeout') l

-- name: limit_statement
-- Another limit in ms, or the role's own where that is lower, for the next statement of the session.
select l.limit_ms, pg_catalog.set_config('statement_timeout', l.limit_ms::pg_catalog.text, false)
from (select least(%(limit_ms)s::pg_catalog.int4, nullif(s.reset_val::pg_catalog.int4, 0)) as limit_ms
      from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'statement_timeout') l

-- name: end_process
-- Ends a process of the server's, of this role: one that catches its cancellation.
select pg_catalog.pg_terminate_backend(%(process)s)

-- name: snapshot
-- What is committed by now.
select pg_catalog.pg_current_snapshot()::text

-- name: events
-- What was told by these numbers since then.
select e.event from pgembedd.events(%(numbers)s::bigint[], %(since)s::text::pg_snapshot) e

-- name: statement_timeout
-- For this transaction.
select set_config('statement_timeout', %(milliseconds)s, true)
