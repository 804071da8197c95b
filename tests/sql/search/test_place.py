"""Hits of pages name the file, the page and the headings that they stand under, and so do answers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.answers import claim
from tests.support.pages import create_parsing
from tests.support.prepared import prepared
from tests.support.roles import Roles
from tests.support.sql import create_pipeline, rows, value
from tests.support.transaction import connection

__all__ = ["connection"]

pytestmark = pytest.mark.usefixtures("roles")  # first, as what is granted to them has to be undone before they go

TEXT = "Before.\n\n## Linux\n\n```\n# no heading\n```\n\nUse a shell.\n\n### Debian\n\nUse apt.\n\n## BSD\n\nUse pkg."
PLACES = {
    "Before.": ["Install"],
    "Use a shell.": ["Install", "Linux"],
    "### Debian\n\nUse apt.": ["Install", "Linux", "Debian"],
    "Use pkg.": ["Install", "BSD"],
}


@prepared
def manuals(connection: psycopg.Connection) -> None:
    """The page 14 of `manual.pdf`, in chunks of its sections."""
    connection.execute("create table manuals (path text primary key, file bytea)")
    create_parsing(connection, pipeline="manual_text", source="manuals", into_table="manual_pages")
    create_pipeline(
        connection,
        pipeline="manuals",
        source="manual_pages",
        content_columns=["text"],
        embedding_table="chunks",
        splitter="markdown",
    )
    connection.execute("insert into manuals values ('manual.pdf', '')")
    connection.execute(
        "insert into manual_pages values ('manual.pdf', 14, '{Install}', %s, '{\"kind\": \"pdf\"}', '', '')", [TEXT]
    )
    for n, chunk in enumerate(PLACES):
        connection.execute(
            "insert into chunks values ('manual.pdf', 14, %s, %s, 0, 0, '[1,2,3]', '', 'x', 1, 1)", [n, chunk]
        )
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")


def test_headings_between_blocks_of_code_count(manuals: psycopg.Connection) -> None:
    text = "```\n# code\n```\n# One\n~~~\n```\n# code\n~~~\n## Two\n```\n# code\n```\nEnd."
    found = "select pgembedd_internal._search_headings('{}', %s, 'End.')"
    assert value(manuals, found, text) == ["One", "Two"]


def places(connection: psycopg.Connection, pipeline: str = "manuals", per: str = "chunk") -> list[Any]:
    """(chunk_index, place) of each hit, by chunk."""
    found = "select chunk_index, place from pgembedd.search(%s, 'x', mode => 'semantic', per => %s, embedding => %s)"
    return rows(connection, f"{found} order by 1", pipeline, per, "[1,2,3]")


def test_places_go_and_come_with_the_pipeline_that_parses(manuals: psycopg.Connection) -> None:
    """What a search knows is prepared, and says of the source whether it holds pages."""
    assert all(place for _, place in places(manuals))
    manuals.execute("select pgembedd.drop_pipeline('manual_text')")
    assert [place for _, place in places(manuals)] == [None] * len(PLACES)
    manuals.execute("select pgembedd.sweep()")
    assert [place for _, place in places(manuals)] == [None] * len(PLACES)
    create_parsing(
        manuals, pipeline="again", source="manuals", into_table="manual_pages", existing_vectors="keep", backfill=False
    )
    assert all(place for _, place in places(manuals))


def test_a_hit_names_file_page_and_the_headings_above_it(manuals: psycopg.Connection) -> None:
    for (_, place), headings in zip(places(manuals), PLACES.values(), strict=True):
        text = f"manual.pdf, page 14, § {' › '.join(headings)}"  # noqa: RUF001
        assert place == {"file": "manual.pdf", "page": 14, "headings": headings, "text": text}
    table = "select place from pgembedd.search(null::manual_pages, 'x', mode => 'semantic', embedding => '[1,2,3]')"
    assert value(manuals, f"{table} limit 1")["page"] == 14
    many = "select distinct place ->> 'file' from pgembedd.similar('manuals', %s, per => 'chunk')"
    manuals.execute("insert into manual_pages select path, 15, headings, text, metadata, '', '' from manual_pages")
    manuals.execute(
        "insert into chunks select path, 15, chunk_index, chunk, 0, 0, embedding, '', 'x', 1, 1 from chunks"
    )
    assert value(manuals, many, '{"path": "manual.pdf", "page": 15}') == "manual.pdf"


@pytest.mark.parametrize(
    ("key", "metadata", "place"),
    [
        ('{"id": 7, "page": 2}', '{"kind": "pptx", "title": "Birds"}', (7, "Birds, slide 2")),
        ('{"id": 7, "page": 2}', "{}", (7, "7, section 2")),
        ('{"of": "b", "at": 1, "page": 2}', '{"kind": "pdf"}', ({"of": "b", "at": 1}, "1, b, page 2")),
    ],
)
def test_a_file_is_named_by_its_key_or_title(
    connection: psycopg.Connection, key: str, metadata: str, place: tuple[Any, str]
) -> None:
    found = value(connection, "select pgembedd_internal._search_place(%s, null, null, '', %s)", key, metadata)
    assert (found["file"], found["text"], found["headings"]) == (*place, [])


def test_a_row_without_chunks_stands_under_its_first_headings(connection: psycopg.Connection) -> None:
    heading = "select pgembedd_internal._search_headings('{A}', %s, null)"
    assert value(connection, heading, "## B\n\n### C\n\nText.\n\n## D") == ["A", "B", "C"]
    assert value(connection, heading, "Text.\n\n## D") == ["A"]


def test_a_table_that_no_pipeline_fills_has_no_places(manuals: psycopg.Connection) -> None:
    manuals.execute("select pgembedd.drop_pipeline('manual_text')")
    assert {place for _, place in places(manuals)} == {None}


def test_an_answer_cites_the_page(manuals: psycopg.Connection) -> None:
    manuals.execute("select pgembedd.configure_answers('manuals', 'some-model', min_similarity => -1)")
    answer = value(manuals, "select pgembedd.ask('manuals', 'where is apt?', embedding => '[1,2,3]')")
    ((_, _, _, _, _, sources),) = claim(manuals)
    cited = rows(manuals, "select title, place from pgembedd.answer_sources(%s)", answer)
    assert (
        {title for title, _ in cited}
        == {source["title"] for source in sources}
        == {place["text"] for _, place in places(manuals)}
    )
    assert all(title == place["text"] for title, place in cited)
    manuals.execute("update manual_pages set text = 'Other.'")
    assert set(rows(manuals, "select title, place from pgembedd.answer_sources(%s)", answer)) == {(None, None)}


def test_headings_are_shown_to_a_role_that_may_read_them(manuals: psycopg.Connection, roles: Roles) -> None:
    reader = roles.make("reader")
    manuals.execute("select pgembedd.grant_search(%s)", [reader])
    manuals.execute(f"grant select on chunks, manuals to {reader}")
    manuals.execute(f"grant select (path, page, text) on manual_pages to {reader}")
    manuals.execute("update manual_pages set headings = '{Secret}'")
    manuals.execute(f"set local role {reader}")
    shown = places(manuals)
    assert shown[1][1]["headings"] == ["Linux"]
    assert "Secret" not in str(shown)
