"""Settings of a database or a role that change what a text, a name or a right means, at values that are not usual."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from tests.support.sql import column, value

# At values that are not the defaults, by what they change. default_transaction_read_only is left out, which a provider
# sets where nothing is to be written, and session_replication_role, by which a superuser turns triggers off.
ODD = {
    "texts": {
        "datestyle": "German, DMY",
        "intervalstyle": "sql_standard",
        "timezone": "Asia/Kathmandu",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "array_nulls": "off",
        "xmlbinary": "hex",
        "xmloption": "document",
        "client_encoding": "LATIN1",
    },
    "statements": {
        "quote_all_identifiers": "on",
        "standard_conforming_strings": "off",
        "escape_string_warning": "off",
        "backslash_quote": "off",
        "transform_null_equals": "on",
        "search_path": "missing, public, pg_catalog",
        "default_text_search_config": "pg_catalog.german",
        "check_function_bodies": "off",
        "plpgsql.variable_conflict": "use_variable",
        "plpgsql.check_asserts": "off",
        "plpgsql.extra_errors": "all",
        "plpgsql.extra_warnings": "all",
    },
    "rights and transactions": {
        "row_security": "off",
        "createrole_self_grant": "set, inherit",
        "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on",
        "synchronous_commit": "off",
        "client_min_messages": "debug1",
        "statement_timeout": "100s",
        "lock_timeout": "100s",
        "idle_in_transaction_session_timeout": "100s",
        "transaction_timeout": "100s",
    },
    "plans and files": {
        "default_table_access_method": "other_heap",
        "default_tablespace": "odd",
        "temp_tablespaces": "odd",
        "default_toast_compression": "pglz",
        "plan_cache_mode": "force_generic_plan",
        "work_mem": "64kB",
    },
}
ALL = {name: setting for group in ODD.values() for name, setting in group.items()}
# A superuser alone may set it, so that it cannot be a role's.
OF_SUPERUSERS = {"plpgsql.variable_conflict"}


def odd_settings(connection: psycopg.Connection, group: str | None = None) -> set[str]:
    """Returns those that this server has, of one group or of all; makes what they name."""
    connection.execute("do 'begin end' language plpgsql")  # which loads what has settings of its own
    connection.execute("create access method other_heap type table handler heap_tableam_handler")
    connection.execute("set allow_in_place_tablespaces to on")
    if not value(connection, "select exists (select from pg_tablespace where spcname = 'odd')"):
        connection.execute("create tablespace odd location ''")
    return set(column(connection, "select name from pg_settings")) & set(ALL if group is None else ODD[group])


def configure(connection: psycopg.Connection, whose: str, names: Iterable[str]) -> None:
    """Sets them: `whose` is a database or a role, as in ALTER."""
    for name in names:
        chosen = ALL[name] if name == "search_path" else sql.Literal(ALL[name]).as_string(connection)
        connection.execute(f"alter {whose} set {name} to {chosen}".encode())
