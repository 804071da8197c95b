"""Whatever enters has a bound: every parameter of HTTP, of the tools and of SQL, alike and as the documents say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from pgembedd.errors import is_refused_call
from pgembedd.http.app import build_app
from pgembedd.http.context import ServiceContext
from pgembedd.mcp.tools import TOOLS
from pgembedd.model import Session
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings, limits
from tests.support.embedders import only
from tests.support.roles import Roles
from tests.support.search import make_source
from tests.support.sql import column, qualified, rows, value
from tests.support.transaction import connection
from tests.support.worker import brisk

__all__ = ["connection"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
Schema = dict[str, Any]

# What no schema can bound, and what does: a setting of the service, or SQL.
BODY, TEXTS, PROMPT = "PGEMBEDD_HTTP_MAX_BODY_KB", "PGEMBEDD_HTTP_MAX_INPUTS", "PGEMBEDD_LANGUAGE_MAX_PROMPT_KB"
BOUND_BY = {
    "POST /embed input": TEXTS,
    "POST /v1/embeddings input": TEXTS,
    "POST /v1/embeddings user": BODY,  # ignored
    "POST /v1/embeddings dimensions": "`dimensions`",  # the model's own number, or a refusal
    "POST /functions/v1/embed": TEXTS,
    "POST /functions/v1/embed input": TEXTS,
    "POST /v1/rerank documents": "`documents`",
    "POST /v2/rerank documents": "`documents`",
    "POST /v1/chat/completions": PROMPT,
    "POST /api/v1/tasks/{task} inputs": PROMPT,
    "POST /api/v1/tasks/{task} parameters": PROMPT,
    "POST /functions/v1/text-to-image prompt": PROMPT,
    "POST /webhooks/database record": BODY,
    "POST /webhooks/database old_record": BODY,
    "POST /webhooks/database schema": BODY,
    "POST /webhooks/database table": BODY,
    "get_row key": "`key`",
    "similar key": "`key`",
}


def unbounded(schema: Schema, components: dict[str, Schema], name: str = "") -> Iterator[str]:
    """The names of the parameters within a schema that may be of any size."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        for branch in branches:
            yield from unbounded(branch, components, name)
    elif "enum" in schema or "const" in schema or schema.get("format") == "uuid" or schema.get("type") == "null":
        return
    elif schema.get("type") == "object" and "properties" in schema:
        for member, inner in schema["properties"].items():
            yield from unbounded(inner, components, name or member)
    elif schema.get("type") == "array" and "maxItems" in schema:
        yield from unbounded(schema["items"], components, name)
    elif not _is_bounded(schema):
        yield name


def _is_bounded(schema: Schema) -> bool:
    match schema.get("type"):
        case "string":
            return "maxLength" in schema
        case "integer" | "number":
            return "minimum" in schema and "maximum" in schema
        case "object":
            return "maxProperties" in schema
        case kind:
            return kind == "boolean"


def test_every_parameter_of_every_route_has_a_bound(model: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    service = ServiceContext(
        brisk(), HttpSettings(http_port=0), ModelRegistry(only(model)), "host=nowhere.invalid user=x dbname=x"
    )
    try:
        routers = [getattr(one, "original_router", None) for one in build_app(service).routes]
        routes = [one for router in routers if router for one in router.routes if isinstance(one, APIRoute)]
    finally:
        service.close()
    assert len(routes) > 30
    for route in routes:  # the page's as well
        monkeypatch.setattr(route, "include_in_schema", True)
    document = get_openapi(title="x", version="1", routes=routes)
    components = document["components"]["schemas"]
    found = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            for given in operation.get("parameters", []):
                found |= {f"{where} {given['name']}" for _ in unbounded(given["schema"], components)}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                found |= {f"{where} {name}".strip() for name in unbounded(content["schema"], components)}
    assert found == {name for name in BOUND_BY if "/" in name}


def test_every_argument_of_every_tool_has_a_bound() -> None:
    found = set()
    for tool in TOOLS.values():
        schema = tool.arguments.model_json_schema()
        found |= {f"{tool.name} {name}" for name in unbounded(schema, schema.get("$defs", {}))}
    assert found == {name for name in BOUND_BY if "/" not in name}


# Public functions but those that workers call. What a call needs besides the parameter that is too large.
PARAMETERS = """
    select p.proname, p.prokind, a.name, format_type(a.type, null), p.pronargs - p.pronargdefaults >= a.nth, p.oid
    from pg_proc p, unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) with ordinality as a(name, type, nth)
    where p.pronamespace = 'pgembedd'::regnamespace and p.proname !~ '^(_|pipeline_)' and a.name <> 'result'
        and p.oid not in (select f from pgembedd_internal._worker_functions() f) order by p.oid, a.nth
"""
NEEDED = {
    "pipeline": "'documents'", "name": "'documents'", "query": "'x'", "question": "'x'", "pipelines": "'{documents}'",
    "content": "'x'", "key": "'1'", "keys": "'{1}'", "source": "'documents'",
    "url": "'https://x.invalid/functions/v1/embed'", "thread": "gen_random_uuid()", "role": "'{reader}'", "id": "'1'",
    "answer": "gen_random_uuid()", "timeout": "'1 s'", "attempts": "1", "content_columns": "'{content}'",
}  # fmt: skip
LONG = "repeat('x', 8000001)"
TOO_LARGE = {
    "text": [LONG],
    "text[]": ["array_fill('x'::text, array[2001])", f"array[{LONG}]", f"array[{LONG}, 'x']"],
    "jsonb": [f"jsonb_build_object('title', {LONG})"],
    "jsonb[]": ["array_fill('1'::jsonb, array[100001])"],
    "integer": ["2147483647", "-2147483648"],
}
# Only compared with what there is, or a figure of how much of the upkeep is done at once.
COMPARED = {
    ("history", "pipeline"), ("search_pipelines", "pipeline"), ("index_statements", "pipeline"),
    ("retry_dead_letters", "pipeline"),
    ("backoff", "attempts"), ("process_embeddings", "batch_size"), ("process_embeddings", "max_requests"),
    ("process_embeddings", "timeout_milliseconds"), ("compare_models", "sample"),
    ("compare_models", "k"),
}  # fmt: skip


@pytest.mark.own_database
def test_every_parameter_of_every_function_has_a_bound(roles: Roles, connection: psycopg.Connection) -> None:
    """Where a text, a list or a number is too large, the refusal is one short sentence that names it."""
    reader = roles.make("reader")
    make_source(connection, 3)
    connection.execute("create table other (id int primary key, content text)")
    given = rows(connection, PARAMETERS)
    assert len(given) > 100
    wrong = []
    for function, kind, parameter, kind_of, _, oid in given:
        for too_large in TOO_LARGE.get(kind_of, ()):
            arguments = {
                name: f"({NEEDED[name].replace('{reader}', reader)})"
                for *_, name, kind_, needed, other in given
                if other == oid and needed and name != parameter and (name in NEEDED) and kind_ != "anyelement"
            }
            arguments |= {
                name: "null::documents" for *_, name, kind_, _, other in given if (other, kind_) == (oid, "anyelement")
            }
            if function == "create_pipeline":
                arguments |= {"pipeline": "'new'", "content_columns": NEEDED["content_columns"]}
            arguments[parameter] = too_large
            listed = ", ".join(f"{name} => {written}" for name, written in arguments.items())
            statement = f"{'call' if kind == 'p' else 'select'} {qualified(function)}({listed})"
            if sentence := fault_of(connection, statement, function, parameter):
                wrong.append((function, parameter, too_large[:40], sentence))
    assert not wrong, "\n".join(map(str, wrong))


def fault_of(connection: psycopg.Connection, statement: str, function: str, parameter: str) -> str | None:
    """What is wrong with the refusal of a statement; None if it is as it should be."""
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        sentence, hint = error.diag.message_primary or "", error.diag.message_hint or ""
        named = parameter in sentence or "pipeline" in sentence or (function, parameter) in COMPARED
        if is_refused_call(error.diag) and named and len(sentence) <= 1_000 and len(hint) <= 1_000:
            return None
        return f"{error.sqlstate} {sentence[:200]}"
    return None if (function, parameter) in COMPARED else "it is taken"


def test_the_three_tables_say_the_same(connection: psycopg.Connection) -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)`[^|]* \| ([\d,]+) ", page, re.MULTILINE))
    of_python = {"query": limits.QUERY, "question": limits.QUESTION, "snippet_marks": limits.MARK, "name": limits.NAME}
    source = value(connection, "select prosrc from pg_proc where proname = '_most'")
    of_sql = {name: int(most) for name, most in re.findall(r"when '(\w+)' then (\d+)", source)}
    source = value(connection, "select prosrc from pg_proc where proname = '_most_members'")
    members = {name: int(most) for name, most in re.findall(r"when '(\w+)' then (\d+)", source)}
    for name, most in of_python.items():
        assert column(connection, "select pgembedd_internal._most(%s)", name) == [most]
    for name, most in {**of_sql, **of_python}.items():
        assert listed[name] == f"{most:,}", name
    for name, most in members.items():
        assert re.search(rf"^\| `{name}`.*\b{most:,} ", page, re.MULTILINE), name
    for name in ("HITS", "SOURCES", "SNIPPET", "CONDITIONS", "DOCUMENTS", "LISTED", "DIMENSIONS", "ERROR_BYTES"):
        assert f"{getattr(limits, name):,}" in page, name
    for bound in BOUND_BY.values():
        assert bound in page
