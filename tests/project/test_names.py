"""Every name of every public surface is made of known words, and what makes or gives has what takes away or back.

The words are in docs/reference/glossary.md; the names are read from the program and the database (public_names.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest

from tests.project.public_names import Name, public_names

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
STABILITY = GLOSSARY.with_name("stability.md")
ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ers", "ion", "ions")
FOREIGN = {
    "process_embeddings": "Supabase's guide calls it with these arguments",
    "AI_INFERENCE_API_HOST": "Supabase's variable",
    "include_name": "alembic's hook",
    "include_object": "alembic's hook",
    "render_item": "alembic's hook",
}
"""What has another product's words: its names are not looked at."""
PLACES = {
    "an argument of SQL": ("sql", "argument"),
    "a column of SQL": ("sql", "column"),
    "a routine": ("sql", "routine"),
    "an option": ("command line", "option"),
    "a metric": ("metrics", "metric"),
    "a label": ("metrics", "label"),
    "an event": ("events", "event"),
    "a field": (None, "field"),
}
DURATIONS = {"timeout", "age", "lag", "grace", "lease", "delay", "heartbeat", "left", "every", "poll"}
"""Words of names that hold a time: in the settings and in JSON such a number ends in its unit."""


# -- Words -------------------------------------------------------------------------------------------------


def section() -> str:
    """The part of the glossary about words of names."""
    return GLOSSARY.read_text(encoding="utf-8").partition("## Words of names\n")[2]


@cache
def ordinary_words() -> frozenset[str]:
    """The words that need no definition."""
    listed = re.search(r"^Ordinary words[^:]*: ([^.]+)\.$", section(), re.MULTILINE | re.DOTALL)
    assert listed is not None
    return frozenset(re.findall(r"[a-z]+", listed[1]))


@cache
def known_words() -> frozenset[str]:
    """The words that are defined, and the ordinary ones."""
    defined = re.findall(r"\*\*([^*]+)\*\*(?=[:,])", GLOSSARY.read_text(encoding="utf-8"))
    cells = re.findall(r"^\| (`[^|]+`) \| [^|]+ \|$", section(), re.MULTILINE)
    return ordinary_words() | frozenset(re.findall(r"[a-z]+", " ".join([*defined, *cells])))


def forms(word: str) -> set[str]:
    """A word and what it may be a form of: `jobs` of `job`, `dropped` of `drop`, `citing` of `cite`."""
    found = {word}
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) > 1:
            base = word.removesuffix(ending)
            found |= {base, base + "e", base + "y"} | ({base[:-1]} if base[-1] == base[-2] else set())
            found |= {base[:-1] + "y"} if base[-1] == "i" else set()
    return found


@pytest.fixture
def names(connection: psycopg.Connection) -> list[Name]:
    """Every public name, without those in the words of another product."""
    every = sorted(public_names(connection))
    return [one for one in every if not FOREIGN.keys() & {one.name, *one.where.split(".")}]


def test_every_name_is_of_known_words(names: list[Name]) -> None:
    assert len(names) > 900
    assert len({name.surface for name in names}) == 7
    wrong = [(word, str(name)) for name in names for word in name.words() if not forms(word) & known_words()]
    assert wrong == []


def test_every_ordinary_word_is_in_use(names: list[Name]) -> None:
    """Else the list grows until it allows everything."""
    used = {form for name in names for word in name.words() for form in forms(word)}

    assert sorted(ordinary_words() - used) == []


# -- One word per thing ------------------------------------------------------------------------------------


def refused() -> Iterator[tuple[str, list[str], str]]:
    """Each refused word or name, the places where it is, and the name to use instead."""
    for cell, where, instead in re.findall(r"^\| (`[^|]+) \| ([^|]+) \| ([^|]+) \|$", section(), re.MULTILINE):
        for word in re.findall(r"`(\w+)`", cell):
            yield word, where.split(", "), instead


def is_meant(name: Name, word: str, places: list[str]) -> bool:
    """Tells that a name is the refused word, or, where that is refused anywhere, has it as one of its words."""
    if places == ["anywhere"]:
        plain = name.name.strip("-").replace("-", "_").lower()
        return plain == word or any(word in forms(one) for one in name.words())
    in_place = any(
        name.kind == kind and surface in (None, name.surface) for surface, kind in map(PLACES.__getitem__, places)
    )
    return in_place and name.name.strip("-").replace("-", "_") == word


def test_no_name_is_a_refused_word(names: list[Name]) -> None:
    wrong = [
        (str(name), "say", instead)
        for word, places, instead in refused()
        for name in names
        if is_meant(name, word, places)
    ]
    assert len(list(refused())) > 20
    assert wrong == []


def test_no_name_of_sql_is_one_that_is_reserved(names: list[Name]) -> None:
    text = STABILITY.read_text(encoding="utf-8")
    listed = re.search(r"^## Reserved\n\n(.+?) is reserved in SQL", text, re.MULTILINE)
    assert listed is not None
    reserved = re.findall(r"`(\w+)`", listed[1])

    assert reserved == ["into_column"]
    assert [str(name) for name in names if name.surface == "sql" and name.name in reserved] == []


def test_a_number_of_seconds_says_so(names: list[Name]) -> None:
    in_json = [name for name in names if name.surface in ("http", "events") and name.kind in ("field", "parameter")]
    options = [name for name in names if name.kind == "option" and name.surface == "command line"]
    variables = [name for name in names if name.kind == "variable"]
    wrong = [
        str(name)
        for name in [*in_json, *options, *variables]
        if DURATIONS & set(name.words()) and name.words()[-1] not in ("s", "file")
    ]
    assert wrong == []


# -- What is made can be taken away ------------------------------------------------------------------------

PAIRS = {
    "create_pipeline": ("alter_pipeline", "drop_pipeline", "pipelines", "pipeline_definition"),
    "pause": ("resume",),
    "change_model": ("compare_models", "switch_model", "revert_model"),
    "switch_model": ("revert_model",),
    "ask": ("stop_answer", "answers"),
    "dead_letters": ("retry_dead_letters",),
    "share_thread": ("unshare_thread",),
    "expose_search": ("unexpose_search",),
    "publish_vectors": ("unpublish_vectors",),
    "configure_answers": ("answer_options",),
}
"""What a routine or view is not without. Each `grant_…` has its `revoke_…` besides."""
TAKEN_BACK = {
    "embed_through": "by a call with another connection",
    "set_push": "by a url of null",
}
"""What is set by a routine without an opposite, and how it is taken back."""
MAKING = ("create", "grant", "expose", "publish", "share", "set", "configure", "add", "enable", "embed_through")


@pytest.fixture
def routines(names: list[Name]) -> set[str]:
    """The public routines and views."""
    return {name.name for name in names if name.surface == "sql" and name.kind in ("routine", "view")}


def test_what_is_made_can_be_taken_away(routines: set[str]) -> None:
    needed = {(one, other) for one, others in PAIRS.items() for other in (one, *others)}
    needed |= {(one, one.replace("grant_", "revoke_", 1)) for one in routines if one.startswith("grant_")}
    missing = {(one, other) for one, other in needed if other not in routines}

    assert sorted(missing) == []
    assert [
        one for one in routines if one.startswith("revoke_") and one.replace("revoke", "grant", 1) not in routines
    ] == []


def test_an_operation_of_alembic_has_its_opposite(names: list[Name]) -> None:
    operations = {name.name for name in names if name.where == "contrib.alembic" and name.name.endswith("Op")}
    expected = {f"{verb}EmbeddingPipelineOp" for verb in ("Create", "Alter", "Drop")}

    assert operations == expected


def test_what_makes_has_its_opposite_or_says_how(routines: set[str]) -> None:
    making = {one for one in routines if one.startswith(MAKING) and not one.startswith("grant_")}
    opposed = {one for one in making if f"un{one}" in routines}

    assert making - opposed - PAIRS.keys() - TAKEN_BACK.keys() == set()
    assert TAKEN_BACK.keys() <= making
