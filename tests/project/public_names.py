"""Every name of every public surface, as docs/reference/stability.md lists them, read from program and database."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, get_origin, is_typeddict

import click
import psycopg

import pgembedd
from pgembedd.cli import cli
from pgembedd.contrib import alembic
from pgembedd.http.app import build_app
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import CODES
from pgembedd.http.paths import API
from pgembedd.model.registry import ModelRegistry
from pgembedd.settings import HttpSettings, Settings, variable_of
from tests.project.sql_reference import ROOT
from tests.support.http import TOKEN
from tests.support.sql import rows
from tests.support.worker import brisk

EVENTS, METRICS = (ROOT / "docs" / "reference" / name for name in ("events.md", "metrics.md"))
MADE = ("AsyncDatabase", "Database", "EmbeddingSession", "LanguageSession", "Reranker")
"""The classes that a program makes itself; the others it is given."""
THE_WORKERS = ("EmbeddingSession.start", "Reranker.start")
"""Methods that are not documented, for the worker and the service."""
CODE_AT = {"Refusal": 2, "check_tokens": 4}
"""The place of the word for programs among the arguments."""
OURS = {"pgembedd"}
"""In front of names of variables, metrics and schemas; no word of its own."""


@dataclass(frozen=True, order=True)
class Name:
    """A public name: `surface` and `kind` say what it is, `where` what it belongs to, `name` what it is called."""

    surface: str
    kind: str
    where: str
    name: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.surface, self.kind, self.where, self.name)))

    def words(self) -> list[str]:
        """The words that the name is made of, in small letters, without numbers and our prefix."""
        parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", self.name)
        return [part.lower() for part in parts if not part.isdigit() and part.lower() not in OURS]


def of_sql(connection: psycopg.Connection) -> Iterator[Name]:
    """Routines with their arguments and columns, and views with theirs."""
    for name, arguments, columns in rows(
        connection,
        r"""
        select p.proname, coalesce(array_agg(a.name order by a.nth) filter (where a.mode in ('i', 'b', 'v')), '{}'),
               coalesce(array_agg(a.name order by a.nth) filter (where a.mode in ('t', 'o')), '{}')
        from pg_proc p
        left join lateral (
            select name, coalesce(mode, 'i') as mode, nth
            from unnest(p.proargnames, p.proargmodes) with ordinality as one(name, mode, nth)
        ) a on a.name <> ''
        where p.pronamespace = 'pgembedd'::regnamespace and not starts_with(p.proname, '_')
        group by p.oid, p.proname
        """,
    ):
        yield Name("sql", "routine", "pgembedd", name)
        yield from (Name("sql", "argument", name, one) for one in arguments)
        yield from (Name("sql", "column", name, one) for one in columns)
    for name, columns in rows(
        connection,
        r"""
        select c.relname, array_agg(a.attname order by a.attnum)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'pgembedd'::regnamespace and c.relkind = 'v' and not starts_with(c.relname, '_')
        group by c.oid
        """,
    ):
        yield Name("sql", "view", "pgembedd", name)
        yield from (Name("sql", "column", name, one) for one in columns)


def of_settings() -> Iterator[Name]:
    """Environment variables."""
    yield from (
        Name("settings", "variable", "", variable_of(one)) for one in {*fields(Settings), *fields(HttpSettings)}
    )


def of_commands(group: click.Command = cli, prefix: str = "") -> Iterator[Name]:
    """Commands, their arguments and long options."""
    if not isinstance(group, click.Group):
        for one in group.params:
            if isinstance(one, click.Argument):
                yield Name("command line", "argument", prefix, one.name or "")
            names = [*one.opts, *one.secondary_opts] if isinstance(one, click.Option) else []
            yield from (Name("command line", "option", prefix, name) for name in names if name.startswith("--"))
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield Name("command line", "command", prefix, name)
        yield from of_commands(command, f"{prefix} {name}".strip())


@cache
def http_document() -> dict[str, Any]:
    """What the service says of itself in OpenAPI."""
    http = HttpSettings(http_token=TOKEN)
    service = ServiceContext(brisk(), http, ModelRegistry(_never), "host=127.0.0.1 port=1")
    document = build_app(service).openapi()
    service.close()
    return document


def of_http() -> Iterator[Name]:
    """Paths below /api/v1 with their parameters, and the fields of their bodies and answers."""
    document = http_document()
    for path, operations in document["paths"].items():
        if not path.startswith(f"{API}/"):
            continue
        yield from (Name("http", "path", path, one) for one in path.removeprefix(API).split("/") if one)
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                yield Name("http", "parameter", path, parameter["name"])
            yield from (Name("http", "field", path, one) for one in _fields(operation, document, set()))


def _never(name: str) -> Any:
    raise AssertionError(name)


def _fields(part: Any, document: dict[str, Any], seen: set[str]) -> Iterator[str]:
    """The properties of all schemas that a part of the document leads to."""
    if isinstance(part, list):
        for one in part:
            yield from _fields(one, document, seen)
    if not isinstance(part, dict):
        return
    if (reference := part.get("$ref")) and reference not in seen:
        seen.add(reference)
        yield from _fields(document["components"]["schemas"][reference.rpartition("/")[2]], document, seen)
    yield from part.get("properties", {})
    for one in part.values():
        yield from _fields(one, document, seen)


def of_metrics() -> Iterator[Name]:
    """Metrics and labels, from the page that a test of /metrics compares with what is served."""
    for name, labels in re.findall(
        r"^\| `(pgembedd_\w+)` \| \w+ \|([^|]*)\|", METRICS.read_text(encoding="utf-8"), re.M
    ):
        yield Name("metrics", "metric", "", name)
        yield from (Name("metrics", "label", name, label) for label in re.findall(r"`(\w+)`", labels))


def of_events() -> Iterator[Name]:
    """Events and their fields, from the page that a test of events compares with what is sent."""
    for name, said in re.findall(r"^\| `(\w+)` \|.*\| (.*)\|$", EVENTS.read_text(encoding="utf-8"), re.M):
        yield Name("events", "event", "", name)
        yield from (Name("events", "field", name, one) for one in re.findall(r"`(\w+)`", said))


def public_calls() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function and method that a program may call, by name; a constructor where the program makes the object."""
    for name in pgembedd.__all__:
        exported = getattr(pgembedd, name)
        kind = get_origin(exported) or exported
        if not inspect.isclass(kind):
            yield name, exported
        elif not is_typeddict(kind):
            yield from ((f"{name}.{method}", call) for method, call in _methods(name, kind))


def _methods(name: str, kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods of a class that are ours and public, with the getters of its properties."""
    for method, member in inspect.getmembers(kind, lambda one: inspect.isfunction(one) or isinstance(one, property)):
        call = getattr(member, "fget", None) or member
        hidden = method.startswith("_") and (method != "__init__" or name not in MADE)
        if call.__module__.startswith("pgembedd") and not hidden and f"{name}.{method}" not in THE_WORKERS:
            yield method, call


def of_python() -> Iterator[Name]:
    """What `__all__` names, of the package with methods, parameters and fields."""
    for name in pgembedd.__all__:
        yield Name("python", "export", "", name)
        kind = get_origin(getattr(pgembedd, name)) or getattr(pgembedd, name)
        ours = [one for one in getattr(kind, "__mro__", ()) if one.__module__.startswith("pgembedd")]
        declared = {field for one in ours for field in getattr(one, "__annotations__", ())}
        yield from (Name("python", "field", name, field) for field in declared if not field.startswith("_"))
    yield from (Name("python", "export", "contrib.alembic", name) for name in alembic.__all__)
    for where, call in public_calls():
        owner, _, method = where.rpartition(".")
        if method != "__init__" and owner:
            yield Name("python", "method", owner, method)
        yield from (
            Name("python", "parameter", where, one) for one in inspect.signature(call).parameters if one != "self"
        )


def public_names(connection: psycopg.Connection) -> set[Name]:
    """All of them."""
    surfaces = (of_settings, of_commands, of_http, of_metrics, of_events, of_python)
    return {*of_sql(connection), *(name for surface in surfaces for name in surface())}


def error_words() -> set[str]:
    """The words for programs in the errors of the HTTP service."""
    found = set(CODES.values()) | {"answer_failed"}
    for path in (ROOT / "worker" / "pgembedd" / "http").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (place := CODE_AT.get(ast.unparse(node.func))):
                given = [*node.args[place : place + 1], *(one.value for one in node.keywords if one.arg == "code")]
            elif isinstance(node, ast.Tuple) and path.name == "refusals.py":
                given = node.elts[-1:]  # of a status and its word
            else:
                continue
            found |= {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found
