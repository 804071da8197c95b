"""Every surface of a search has every option, as it is declared: HTTP, tools, commands, Python, SQL, documents."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pgembedd.answers.options import AskOptions
from pgembedd.answers.questions import Question
from pgembedd.cli.ask import command as ask
from pgembedd.cli.search import command
from pgembedd.http.routes.answers import AskRequest
from pgembedd.http.routes.search import SearchAddress, SearchRequest
from pgembedd.mcp.tools import TOOLS
from pgembedd.search.options import NOT_IN_SQL, SearchManyOptions, SearchOptions, SimilarOptions, options_of
from tests.project.search_options import DOCS, PART, PARTS, TYPES, parameters, rendered

OPTIONS = options_of(SearchOptions)
QUESTION_OPTIONS = options_of(AskOptions)
ASKED = {"pipeline", "pipelines", "query", "key", "options"}
OUTSIDE = set(OPTIONS) - {"embedding"}  # which the process makes


def test_the_documents_list_the_options_as_they_are_declared() -> None:
    """`python -m tests.project.search_options` writes them."""
    found = []
    for path in DOCS.glob("*.md"):
        page = path.read_text(encoding="utf-8")
        found += [part[1] for part in PART.findall(page)]
        assert rendered(page) == page, path
    assert sorted(found) == sorted(PARTS)


@pytest.mark.parametrize(
    ("function", "kind"),
    [("search", SearchOptions), ("search_many", SearchManyOptions), ("similar", SimilarOptions)],
)
def test_sql_has_the_declared_options_types_and_defaults(function: str, kind: type) -> None:
    in_sql = {name: declared for name, declared in parameters(function).items() if name not in ASKED}
    declared = {
        name: ("vector" if name == "embedding" else TYPES[type_], literal(option.default))
        for name, (type_, option) in options_of(kind).items()
        if name not in NOT_IN_SQL and not option.is_rare
    }
    assert in_sql == declared
    assert [*parameters(function)][-1] == "options"


@pytest.mark.parametrize("name", [name for name, (_, option) in OPTIONS.items() if option.is_rare])
def test_sql_has_the_bounds_and_defaults_of_the_members_of_options(connection: psycopg.Connection, name: str) -> None:
    kind, option = OPTIONS[name]

    def taken(value: Any) -> Any:
        return row_of(
            connection,
            "select (pgembedd_internal._search_with_options(null, %s, pgembedd_internal._search_options())).*",
            value,
        )

    def row_of(connection: psycopg.Connection, statement: str, given: Any) -> Any:
        with connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(statement.encode(), [Jsonb(given)]).fetchone()
        return None if found is None else found[name]

    default = [*option.default] if isinstance(option.default, tuple) else option.default
    assert taken({}) == taken({name: None}) == default
    if kind in (int, float):
        for bound, beyond in ((option.least, -1), (option.most, 1)):
            assert bound is not None
            assert taken({name: bound}) == bound
            with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"The option {name} is"):
                taken({name: bound + beyond})
    else:
        longest = "x" * int(option.most or 0)
        assert taken({name: [longest, ""]}) == [longest, ""]
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match=name):
            taken({name: [longest + "x", ""]})


def literal(default: Any) -> str:
    """A default as SQL writes it."""
    match default:
        case None:
            return "null"
        case tuple():
            return f"'{{{','.join(map(str, default))}}}'"
        case str():
            return f"'{default}'"
    return str(default)


def test_a_question_has_the_declared_options_on_each_surface() -> None:
    declared = {name: (TYPES[kind], literal(option.default)) for name, (kind, option) in QUESTION_OPTIONS.items()}
    asked = {"pipeline", "question"}
    in_sql = {name: one for name, one in parameters("ask", "74_answers").items() if name not in asked}
    waited = {name: one for name, one in parameters("answer", "74_answers").items() if name not in asked}
    of_command = {one.name: one for one in ask.params if isinstance(one, click.Option)}
    of_tool = TOOLS["ask"].arguments.model_fields

    assert in_sql == {**declared, "embedding": ("vector", "null")}
    assert list(waited.items())[: len(declared)] == list(declared.items())
    assert [one.name for one in fields(Question)] == ["pipeline", "question", *declared, "embedding"]
    assert {*AskRequest.model_fields} == {*asked, *declared}
    assert {*of_tool} == {*asked, *declared} - {"thread"}  # an assistant has a conversation of its own
    for name in declared:
        told = QUESTION_OPTIONS[name][1].help
        assert AskRequest.model_fields[name].description == of_command[name].help == told
        assert name == "thread" or of_tool[name].description == told


def test_explain_search_takes_those_of_search() -> None:
    assert [name for name in parameters("explain_search") if name != "with_hits"] == [*parameters("search")]


def test_each_surface_has_each_option() -> None:
    (search, similar) = (TOOLS[name].arguments.model_fields for name in ("search", "similar"))
    of_command = {one.name: one for one in command.params if isinstance(one, click.Option)}

    assert {*SearchRequest.model_fields} == {*SearchAddress.model_fields} == {"pipeline", "query", *OUTSIDE}
    assert {*search} == {"pipeline", "query", *OUTSIDE}
    assert {*similar} == {"pipeline", "key", *options_of(SimilarOptions)}
    assert {*of_command} >= OUTSIDE
    for name in OUTSIDE:
        told = OPTIONS[name][1].help
        assert search[name].description == SearchRequest.model_fields[name].description == of_command[name].help == told
