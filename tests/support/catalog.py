"""Everything in our schemas as the catalog has it, and our triggers elsewhere, in a form that can be compared.

pg_dump leaves out owners here, and the order of grants tells which came first; this says both by name.
"""

from __future__ import annotations

import psycopg

_SCHEMAS = "(values ('pgembedd'), ('pgembedd_code')) as s(name) join pg_namespace n on n.nspname = s.name"

# Each: kind, identity, and all that is to be equal. Roles of embed()'s second connection are named after the database.
_GRANTS = r"""(
    select string_agg(format('%%s%%s by %%s', a.privilege_type, case when a.is_grantable then '*' end, w.who), ', '
                      order by a.privilege_type, w.who, a.is_grantable)
    from aclexplode({acl}) a,
         lateral (select regexp_replace(coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'),
                                        '^pgembedd_embed_\d+$', 'the role of embed()') as who) w)"""

_PARTS = {
    "routine": r"""
        select p.oid::regprocedure::text, concat_ws(E'\n', pg_get_functiondef(p.oid), 'owner ' || p.proowner::regrole,
            {grants}, obj_description(p.oid, 'pg_proc'))
        from {schemas} join pg_proc p on p.pronamespace = n.oid
    """.replace("{grants}", _GRANTS.replace("{acl}", "coalesce(p.proacl, acldefault('f', p.proowner))")),
    "relation": r"""
        select c.oid::regclass::text, concat_ws(E'\n', c.relkind::text, c.relpersistence::text, 'owner ' || c.relowner::regrole,
            c.reloptions::text, c.relrowsecurity::text, {grants}, obj_description(c.oid, 'pg_class'),
            case when c.relkind = 'v' then pg_get_viewdef(c.oid) when c.relkind = 'i' then pg_get_indexdef(c.oid) end)
        from {schemas} join pg_class c on c.relnamespace = n.oid
    """.replace("{grants}", _GRANTS.replace("{acl}", "c.relacl")),
    "column": r"""
        select c.oid::regclass || '.' || a.attname, concat_ws(E'\n', a.attnum, format_type(a.atttypid, a.atttypmod),
            a.attnotnull::text, a.attidentity::text, pg_get_expr(d.adbin, d.adrelid), {grants},
            col_description(c.oid, a.attnum))
        from {schemas} join pg_class c on c.relnamespace = n.oid join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    """.replace("{grants}", _GRANTS.replace("{acl}", "a.attacl")),
    "constraint": """
        select coalesce(nullif(k.conrelid, 0)::regclass::text, '') || '.' || k.conname, pg_get_constraintdef(k.oid)
        from {schemas} join pg_constraint k on k.connamespace = n.oid
    """,
    "policy": """
        select c.oid::regclass || '.' || p.polname, concat_ws(E'\n', p.polcmd::text, p.polpermissive::text, p.polroles::text,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        from {schemas} join pg_class c on c.relnamespace = n.oid join pg_policy p on p.polrelid = c.oid
    """,
    "type": """
        select t.oid::regtype::text, concat_ws(E'\n', t.typtype::text, obj_description(t.oid, 'pg_type'))
        from {schemas} join pg_type t on t.typnamespace = n.oid
    """,
    "trigger": """
        select t.tgrelid::regclass || '.' || t.tgname, concat_ws(E'\n', t.tgenabled::text, pg_get_triggerdef(t.oid))
        from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace or t.tgname like 'pgembedd%%'
    """,
}


def catalog(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """Returns what is installed, by kind and identity."""
    with connection.transaction():
        connection.execute("set local search_path to pg_catalog, pg_temp")
        return {
            (kind, identity): text
            for kind, part in _PARTS.items()
            for identity, text in connection.execute(
                part.replace("{schemas}", _SCHEMAS).replace("%%", "%").encode()
            ).fetchall()
        }


def differences(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> dict[str, tuple[str, str]]:
    """Returns what is in one only, or not equal."""
    return {
        " ".join(key): (before.get(key, "missing"), after.get(key, "missing"))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }
