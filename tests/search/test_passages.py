"""Snippets cut from a passage are those that search() cuts from the same text."""

from __future__ import annotations

import random

import psycopg

from pgembedd.search.passages import MARKS, cut, plain
from tests.support.transaction import connection

__all__ = ["connection"]

WORDS = ["password", "reset", "the", "a", "of", "settings", "security", "open", "menu", "x" * 40]
SNIPPETS = """
    select pgembedd_internal._search_snippet(t.text, 2000, t.q, %(own)s::text[], 'english'::regconfig::oid), t.length,
           pgembedd_internal._search_snippet(t.text, t.length, t.q, %(marks)s::text[], 'english'::regconfig::oid)
    from (select s.text, s.length, q.q
          from unnest(%(texts)s::text[], %(lengths)s::integer[], %(queries)s::text[]) as s(text, length, query)
          cross join lateral (select to_tsquery('english', s.query)) q(q)) t
"""


def texts(count: int, seed: int) -> list[str]:
    """Texts of up to 2,000 characters, with gaps of every kind."""
    chosen = random.Random(seed)
    made = (
        "".join(chosen.choice(WORDS) + chosen.choice([" ", " ", "  ", "\n", "\t", ", "]) for _ in range(size))
        for size in (chosen.randrange(1, 200) for _ in range(count))
    )
    return [text[:2000] for text in made]


def test_a_snippet_is_cut_as_sql_cuts_it(connection: psycopg.Connection) -> None:
    given = texts(3000, 1)
    chosen = random.Random(2)
    values = {
        "texts": given,
        "lengths": [chosen.choice([1, 7, 20, 60, 200, 500, 1999]) for _ in given],
        "queries": [chosen.choice(["password", "reset | security", "menu", "nothing"]) for _ in given],
        "marks": ["<", ">"],
        "own": list(MARKS),
    }
    found = connection.execute(SNIPPETS, values).fetchall()

    assert len(found) == 3000
    assert sum("<" in snippet and "…" in snippet for _, _, snippet in found) > 50
    assert [cut(passage, length, "<>") for passage, length, _ in found] == [snippet for *_, snippet in found]
    assert all(plain(cut(passage, length, MARKS)) == cut(passage, length, ["", ""]) for passage, length, _ in found)
