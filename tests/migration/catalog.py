"""Everything in our schemas as the catalog has it, and our triggers elsewhere, in a form that can be compared.

pg_dump leaves out owners, and shows in which order was granted; this has owners, and no order.
"""

from __future__ import annotations

import psycopg

Catalog = dict[tuple[str, str], str]

_SCHEMA = "pg_namespace n on n.nspname in ('pgembedd', 'pgembedd_internal', 'pgembedd_code') and n.oid ="


def _grants(acl: str) -> str:
    """What is granted, in order; the role of embed()'s second connection is named after the database."""
    return rf"""(
        select string_agg(concat(a.privilege_type, case when a.is_grantable then '*' end, ' to ', r.name), ', '
                          order by a.privilege_type, r.name, a.is_grantable)
        from aclexplode({acl}) a, lateral (
            select regexp_replace(coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'),
                                  '^pgembedd_embed_\d+$', 'the role of embed()') as name) r)"""


# By kind: identity, and all that is to be equal.
_PARTS = {
    "routine": f"""
        select p.oid::regprocedure::text, concat_ws(E'\\n', pg_get_functiondef(p.oid), p.proowner::regrole,
            {_grants("coalesce(p.proacl, acldefault('f', p.proowner))")}, obj_description(p.oid, 'pg_proc'))
        from pg_proc p join {_SCHEMA} p.pronamespace where p.prokind in ('f', 'p')
    """,
    "relation": f"""
        select c.oid::regclass::text, concat_ws(E'\\n', c.relkind, c.relpersistence, c.relowner::regrole, c.reloptions,
            c.relrowsecurity, {_grants("c.relacl")}, obj_description(c.oid, 'pg_class'),
            case when c.relkind = 'v' then pg_get_viewdef(c.oid) when c.relkind = 'i' then pg_get_indexdef(c.oid) end)
        from pg_class c join {_SCHEMA} c.relnamespace
    """,
    "column": f"""
        select c.oid::regclass || '.' || a.attname, concat_ws(E'\\n', a.attnum, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), {_grants("a.attacl")},
            col_description(c.oid, a.attnum))
        from pg_class c join {_SCHEMA} c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    """,
    "constraint": f"""
        select k.conrelid::regclass || '.' || k.conname, pg_get_constraintdef(k.oid)
        from pg_constraint k join {_SCHEMA} k.connamespace
    """,
    "policy": f"""
        select c.oid::regclass || '.' || p.polname, concat_ws(E'\\n', p.polcmd, p.polpermissive, p.polroles,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        from pg_class c join {_SCHEMA} c.relnamespace join pg_policy p on p.polrelid = c.oid
    """,
    "type": f"""
        select t.oid::regtype::text, concat_ws(E'\\n', t.typtype, obj_description(t.oid, 'pg_type'))
        from pg_type t join {_SCHEMA} t.typnamespace
    """,
    "trigger": """
        select t.tgrelid::regclass || '.' || t.tgname, concat_ws(E'\\n', t.tgenabled, pg_get_triggerdef(t.oid))
        from pg_trigger t join pg_proc f on f.oid = t.tgfoid where f.pronamespace = 'pgembedd_code'::regnamespace
    """,
}


def catalog(connection: psycopg.Connection) -> Catalog:
    """Returns what is installed, by kind and identity."""
    with connection.transaction():
        connection.execute("set local search_path to pg_catalog, pg_temp")
        return {
            (kind, identity): text
            for kind, part in _PARTS.items()
            for identity, text in connection.execute(part.encode()).fetchall()
        }


def differences(before: Catalog, after: Catalog) -> dict[str, tuple[str, str]]:
    """Returns what is in one only, or not equal."""
    return {
        " ".join(key): (before.get(key, "missing"), after.get(key, "missing"))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }
