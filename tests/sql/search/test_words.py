"""Search by words, and both legs fused: what is found, in which order, and that it is complete."""

from __future__ import annotations

import math
import re
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.prepared import prepared_for
from tests.support.refusals import refused
from tests.support.search import QUERY, Hit, search
from tests.support.sql import call, create_pipeline, rows, value, work
from tests.support.transaction import connection

__all__ = ["connection"]

TEXTS = {
    1: ("Passwords", "how to reset a forgotten password of yours"),
    2: ("Invoices", "an invoice can be paid by card"),
    3: ("Cards", "a lost card is blocked at once, and its password with it"),
    4: ("Blocked", "how to have an account blocked"),
}


def make_texts(connection: psycopg.Connection, texts: dict[int, tuple[str, str]] = TEXTS, **options: Any) -> None:
    """`documents` with a pipeline, embedded and counted; the vectors are made up."""
    connection.execute("create table documents (id int primary key, title text, content text, language text)")
    create_pipeline(connection, **{"text_config": "english", **options})
    connection.execute("update pgembedd_internal.pipeline set fingerprint = 'x'")
    connection.cursor().executemany(
        "insert into documents values (%s, %s, %s, 'english')", [(key, *text) for key, text in texts.items()]
    )
    work(connection)
    sample(connection)


def sample(connection: psycopg.Connection) -> None:
    connection.execute(
        "select pgembedd_internal._note_words(p) from pgembedd_internal.pipeline p where words_table is not null"
    )


def by_words(connection: psycopg.Connection, query: str, **options: Any) -> list[Any]:
    return [hit.key for hit in search(connection, query=query, **{"mode": "text", **options})]


def hybrid(connection: psycopg.Connection, query: str, **options: Any) -> list[Hit]:
    return search(connection, query=query, mode="hybrid", **options)


def test_rows_with_a_word_of_the_query_are_found_by_their_stems(connection: psycopg.Connection) -> None:
    make_texts(connection)
    assert by_words(connection, "resetting passwords") == [1, 3]
    assert by_words(connection, "the unknown") == by_words(connection, "of the") == []
    first = search(connection, query="invoice", mode="text")[0]
    assert (first.key, first.semantic_rank, first.text_rank, first.similarity) == (2, None, 1, None)
    assert first.score > 0


def test_words_that_are_not_searched_are_passed_over_in_silence(connection: psycopg.Connection) -> None:
    make_texts(connection, {**TEXTS, 2: ("Invoices", f"{3000 * 'x'} an invoice of {3000 * 'y'}")})
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert by_words(connection, f"the of {3000 * 'x'} invoice -the") == [2]
    assert notices == []


def test_words_that_must_be_or_must_not(connection: psycopg.Connection) -> None:
    make_texts(connection)
    assert set(by_words(connection, "card password")) == {1, 2, 3}
    assert by_words(connection, "card password -invoice -forgotten") == [3]
    assert by_words(connection, '"account blocked" card') == [4]
    assert by_words(connection, 'card -"lost card"') == [2]
    assert set(by_words(connection, '"account blocked" or "lost card"')) == {3, 4}
    assert set(by_words(connection, '"account blocked" OR invoice')) == {2, 4}
    assert by_words(connection, "it's \\ ' & | ! ( : *a card' \" <-> ") == by_words(connection, "card")
    with refused("The query only says which words must not occur."):
        by_words(connection, '-card -"account blocked"')


@pytest.mark.parametrize("table", [None, "chunks"])
def test_what_a_query_requires_holds_for_hits_by_meaning(connection: psycopg.Connection, table: str | None) -> None:
    make_texts(connection, embedding_table=table)
    assert {hit.key for hit in hybrid(connection, "card")} == {1, 2, 3, 4}
    assert {hit.key for hit in hybrid(connection, "card -invoice")} == {1, 3, 4}
    assert {hit.key for hit in hybrid(connection, 'card "account blocked"')} == {4}


def test_a_word_in_the_title_counts_more(connection: psycopg.Connection) -> None:
    make_texts(connection, {1: ("Other", "shipping of things"), 2: ("Shipping", "other of things")})
    assert by_words(connection, "shipping") == [2, 1]


def test_rare_words_count_more_than_common_ones(connection: psycopg.Connection) -> None:
    texts = {i: ("", f"common text number{i}") for i in range(1, 40)} | {40: ("", "rare text here")}
    make_texts(connection, texts)
    assert by_words(connection, "common rare", k=2) == [40, 1]


def test_a_row_with_a_common_word_alone_gains_little_by_it(connection: psycopg.Connection) -> None:
    texts = {i: ("", f"common text number{i}") for i in range(1, 40)} | {40: ("", "rare text here")}
    make_texts(connection, texts)
    common, rare = -math.log(39 / 40), -math.log(2.5 / 40)  # less than five of the 40 rows have "rare"
    found = hybrid(connection, "common rare", k=40)
    for hit in found:
        held = (rare if hit.key == 40 else common) / (common + rare)
        assert hit.semantic_rank
        assert hit.text_rank
        assert hit.score == pytest.approx(1 / (60 + hit.semantic_rank) + held / (60 + hit.text_rank))
    assert [hit.semantic_rank for hit in found if hit.key != 40] == sorted(
        hit.semantic_rank for hit in found if hit.key != 40 and hit.semantic_rank
    )
    explain = "select pgembedd.explain_search('documents', 'common rare', embedding => %s::vector, with_hits => true)"
    plan = value(connection, explain, QUERY)
    assert plan["text"]["hits"][0]["held"] == pytest.approx(rare / (common + rare))


def test_hybrid_is_the_default_and_says_both_ranks(connection: psycopg.Connection) -> None:
    make_texts(connection)
    statement = "select key, semantic_rank, text_rank, score, similarity from pgembedd.search('documents', 'invoice'"
    found = {row[0]: row[1:] for row in rows(connection, f"{statement}, embedding => '[1,0.5,0.25]')")}
    assert set(found) == {1, 2, 3, 4}
    semantic_rank, text_rank, score, similarity = found[2]
    assert text_rank == 1
    assert score == pytest.approx(1 / (60 + semantic_rank) + 1 / 61)
    assert 0 < similarity < 1
    assert [row[1] for row in found.values()].count(None) == 3
    (weighted,) = rows(
        connection,
        f"{statement}, embedding => '[1,0.5,0.25]', k => 1,"
        """ options => '{"semantic_weight": 0, "text_weight": 2, "rrf_k": 1}')""",
    )
    assert weighted[0] == 2
    assert weighted[3] == pytest.approx(1)


def test_a_hit_by_words_has_its_similarity_too(connection: psycopg.Connection) -> None:
    texts = {i: ("", f"text {i}") for i in range(1, 100)} | {100: ("", "needle")}
    make_texts(connection, texts)
    connection.execute("update documents set embedding = '[-1,-1,-1]' where id = 100")
    hit = next(hit for hit in hybrid(connection, "needle") if hit.key == 100)
    assert hit.semantic_rank is None
    assert hit.similarity == pytest.approx(-0.882, abs=0.001)
    assert 100 not in {hit.key for hit in hybrid(connection, "needle", min_similarity=0, k=1000)}


@pytest.mark.parametrize("table", [None, "chunks"])
def test_both_legs_read_a_table_once_for_a_filter_that_no_index_answers(
    connection: psycopg.Connection, table: str | None
) -> None:
    make_texts(connection, {i: (f"title {i}", f"common text {i}") for i in range(1, 601)}, embedding_table=table)
    connection.execute("analyze documents")
    read = "select pg_stat_get_xact_tuples_returned('documents'::regclass)"
    counts = []
    for mode in ("semantic", "hybrid"):
        before = value(connection, read)
        found = search(connection, query="common", mode=mode, filter={"title": "title 300"})
        assert [(hit.key, hit.semantic_rank) for hit in found] == [(300, 1)]
        counts.append(value(connection, read) - before)
    assert found[0].text_rank == 1
    assert counts[0] == counts[1] >= 600


@prepared_for("column", "table")
def many(connection: psycopg.Connection, destination: str) -> None:
    """Thousands of texts of two paragraphs."""
    texts = {i: ("", f"common {'seldom' if i % 100 == 0 else 'often'} text\n\ncommon twice") for i in range(1, 7001)}
    make_texts(connection, texts, embedding_table="chunks" if destination == "table" else None)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_as_many_are_found_as_match(many: psycopg.Connection, mode: str) -> None:
    connection = many
    for wanted in (10, 200, 1000):
        assert len(search(connection, query="common", mode=mode, k=wanted)) == wanted
    assert len(by_words(connection, "common", k=1000, filter={"id": {"$gt": 6900}})) == 100
    assert by_words(connection, "common seldom", k=20, filter={"id": {"$lte": 15}}, per="row") != []
    assert len(by_words(connection, "common seldom", k=20, filter={"id": {"$lte": 15}})) == 15
    assert {key % 100 for key in by_words(connection, "common seldom", k=70)} == {0}
    assert len(search(connection, query="seldom", mode=mode, k=1000)) == (70 if mode == "text" else 1000)


@pytest.mark.slow
def test_of_what_a_filter_leaves_all_rows_with_a_word_are_ranked(many: psycopg.Connection) -> None:
    few = {"id": {"$between": [190, 210]}}
    assert _text_path(many, "common seldom often", few) in [("filter", 21), ("filter", 42)]  # rows, or chunks
    found = by_words(many, "common seldom often", k=1000, filter=few)
    assert (found[0], sorted(found)) == (200, list(range(190, 211)))
    assert by_words(many, "common seldom often", k=7, filter=few) == found[:7]
    assert by_words(many, "often -seldom", k=1000, filter=few) == [key for key in found if key != 200]
    assert by_words(many, "unknown", filter=few) == []
    for required in ('"seldom text"', "often -seldom"):  # which the filter's rows would be read for, however many
        assert _text_path(many, required, few)[0] in ("index", "scan")


@pytest.mark.slow
def test_a_filter_that_leaves_more_rows_than_the_planner_expects_is_no_way(many: psycopg.Connection) -> None:
    all_of_them = {"language": {"$like": "english"}}  # 35, as no statistics say more
    path, candidates = _text_path(many, "common", all_of_them)
    assert (path != "filter", candidates > 1000) == (True, True)
    assert by_words(many, "common", k=1000, filter=all_of_them) == by_words(many, "common", k=1000)


def _text_path(connection: psycopg.Connection, query: str, filter: dict[str, Any]) -> tuple[str, int]:
    plan = value(
        connection,
        "select pgembedd.explain_search('documents', %s, filter => %s, mode => 'text') -> 'text'",
        query,
        Jsonb(filter),
    )
    return plan["path"], plan["candidates"]


@pytest.mark.parametrize("table", [None, "chunks"])
def test_the_best_by_words_that_lost_their_vectors_leave_their_places_to_others(
    connection: psycopg.Connection, table: str | None
) -> None:
    make_texts(connection, {n: ("", "needle " * (20 - n)) for n in range(1, 9)}, embedding_table=table)
    assert by_words(connection, "needle", k=2) == [1, 2]
    lose = "delete from chunks" if table else "update documents set embedding = null"
    connection.execute(f"{lose} where id < 4")
    for per in ("row", "chunk"):
        assert by_words(connection, "needle", k=2, per=per) == [4, 5]
        assert by_words(connection, "needle", k=100, per=per) == [4, 5, 6, 7, 8]


def test_chunks_and_rows(connection: psycopg.Connection) -> None:
    texts = {1: ("One", "apple\n\nbanana\n\napple banana"), 2: ("Two", "cherry")}
    make_texts(connection, texts, embedding_table="chunks", content_columns=["content"])
    found = search(connection, query="apple", mode="text", per="chunk")
    assert [(hit.key, hit.chunk_index, hit.snippet) for hit in found] == [
        (1, 0, "**apple**"),
        (1, 2, "**apple** banana"),
    ]
    assert [(hit.key, hit.chunk_index) for hit in search(connection, query="apple", mode="text")] == [(1, 0)]
    assert [hit.key for hit in hybrid(connection, "banana", k=5)] == [1, 2]
    assert len(hybrid(connection, "banana", k=9, per="chunk")) == 4


def test_of_a_row_that_both_legs_found_the_chunk_that_stands_higher_is_the_hit(connection: psycopg.Connection) -> None:
    texts = {1: ("", "hay\n\nneedle"), 2: ("", "hay\n\nneedle needle needle")}
    make_texts(connection, texts, embedding_table="chunks", content_columns=["content"])
    connection.execute(
        "update chunks set embedding = case when chunk_index = 1 then '[-1,0,0]' when id = 1 then '[1,0.5,0.25]'"
        " else '[1,0.5,0]' end::vector"
    )
    found = {hit.key: hit for hit in hybrid(connection, "needle")}
    ranks_and_chunks = {key: (hit.semantic_rank, hit.text_rank, hit.chunk_index) for key, hit in found.items()}
    assert ranks_and_chunks == {1: (1, 2, 0), 2: (2, 1, 1)}
    assert [found[1].snippet, found[2].snippet] == ["hay", "**needle** **needle** **needle**"]


@pytest.mark.parametrize(("k", "longest"), [(1, 60), (60, 60)])
def test_a_row_at_the_end_of_both_lists_counts_twice(connection: psycopg.Connection, k: int, longest: int) -> None:
    texts = dict.fromkeys(range(1, longest), ("needle", "needle")) | dict.fromkeys(
        range(101, 100 + longest), ("", "hay")
    )
    make_texts(connection, {**texts, 200: ("", "needle")})
    connection.execute(
        "update documents set embedding = case when id < 100 then '[-1,0,0]' when id < 200 then '[1,0.5,0.25]'"
        " else '[1,0.5,0]' end::vector"
    )
    first = hybrid(connection, "needle", k=k, rrf_k=1000)[0]
    assert (first.key, first.semantic_rank, first.text_rank) == (200, longest, longest)


@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_an_excluded_word_stands_in_no_chunk_of_a_row(connection: psycopg.Connection, mode: str) -> None:
    texts = {1: ("One", "apple pie\n\nbanana split"), 2: ("Two", "apple juice")}
    make_texts(connection, texts, embedding_table="chunks", content_columns=["content"])
    query = "apple -banana"
    assert [hit.key for hit in search(connection, query=query, mode=mode)] == [2]
    of_chunks = search(connection, query=query, mode=mode, per="chunk")
    assert {(hit.key, hit.chunk_index) for hit in of_chunks} == {(1, 0), (2, 0)}
    explain = "select pgembedd.explain_search('documents', %s, mode => %s, embedding => %s::vector, with_hits => true)"
    plan = value(connection, explain, query, mode, QUERY)
    assert [hit["key"] for hit in plan["text"]["hits"]] == [2]
    assert plan["filter"] == "true"


def test_pages_of_one_search(connection: psycopg.Connection) -> None:
    texts = {i: ("", f"text {'word ' * (i % 7)}") for i in range(1, 71)}
    make_texts(connection, texts)
    for mode in ("hybrid", "text", "semantic"):
        pages = [search(connection, query="word", mode=mode, k=9, skip=skip) for skip in range(0, 90, 9)]
        whole = search(connection, query="word", mode=mode, k=1000)
        assert [hit for page in pages for hit in page] == whole
        assert len({hit.key for hit in whole}) == len(whole) == (60 if mode == "text" else 70)
        assert search(connection, query="word", mode=mode, skip=1000) == []


def test_the_typed_form(connection: psycopg.Connection) -> None:
    make_texts(connection)
    statement = (
        "select s.id, s.title, hit.text_rank, hit.snippet from pgembedd.search(null::documents, 'invoice', mode => "
        '\'text\', options => \'{"snippet_marks": ["<b>", "</b>"]}\') hit, unnest(array[hit.record]) s'
    )
    assert rows(connection, statement) == [
        (2, "Invoices", 1, "<b>Invoices</b>\n\nan <b>invoice</b> can be paid by card")
    ]


def test_a_snippet_shows_where_the_words_are(connection: psycopg.Connection) -> None:
    body = "filler words here " * 200 + "then comes the needle in it " + "more filler words " * 200
    short = "all of this is shown, its last word is the needle"
    texts = {1: ("Title", body), 2: ("Title", "x" * 500 + " needle"), 3: ("Title", short)}
    make_texts(connection, texts, content_columns=["content"])
    snippets = {
        hit.key: hit.snippet or "" for hit in search(connection, query="needle", mode="text", snippet_length=60)
    }
    assert snippets[1].startswith("… ")
    assert snippets[1].endswith(" …")
    assert "comes the **needle** in it" in snippets[1]
    assert len(snippets[1].replace("**", "")) <= 64
    assert snippets[2] == "… **needle**"
    assert snippets[3] == short.replace("needle", "**needle**")
    assert search(connection, query="needle", mode="text", snippet_length=0)[0].snippet is None


def test_without_a_search_by_words(connection: psycopg.Connection) -> None:
    make_texts(connection, text_config="none")
    assert value(connection, "select words_table from pgembedd_internal.pipeline") is None
    assert hybrid(connection, "invoice") == search(connection, query="invoice")
    hint = "Search with mode => 'semantic', or have words made: select pgembedd.alter_pipeline('documents', text_config"
    with refused('The pipeline "documents" has no search by words.', hint):
        by_words(connection, "invoice")


def test_null_is_no_search_by_words(connection: psycopg.Connection) -> None:
    make_texts(connection, text_config=None)
    assert value(connection, "select text_config from pgembedd_internal.pipeline") is None


def test_the_configuration_of_the_database_is_recorded(connection: psycopg.Connection) -> None:
    connection.execute("set default_text_search_config = 'pg_catalog.german'")
    connection.execute("create table documents (id int primary key, title text, content text)")
    create_pipeline(connection)
    connection.execute("set default_text_search_config = 'pg_catalog.english'")
    connection.execute("insert into documents values (1, '', 'zwei Häuser')")
    work(connection)
    assert value(connection, "select text_config from pgembedd_internal.pipeline") == "pg_catalog.german"
    assert by_words(connection, "Haus") == [1]


def test_a_configuration_is_found_however_names_are_quoted(connection: psycopg.Connection) -> None:
    connection.execute("set quote_all_identifiers = on")
    make_texts(connection)
    assert by_words(connection, "invoices") == [2]
    connection.execute("set quote_all_identifiers = off")
    assert by_words(connection, "invoices") == [2]
    connection.execute("update pgembedd_internal.pipeline set text_config = 'pg_catalog.english'")
    connection.execute("set quote_all_identifiers = on")
    assert by_words(connection, "invoices") == [2]


def test_a_configuration_that_is_not_there_is_refused(connection: psycopg.Connection) -> None:
    with refused("There is no text search configuration 'klingon'.", "none, for no search by words"):
        make_texts(connection, text_config="klingon")


def test_a_column_names_the_configuration_of_each_row(connection: psycopg.Connection) -> None:
    connection.execute("create table documents (id int primary key, title text, content text, language text)")
    create_pipeline(connection, text_config="language")
    connection.execute(
        "insert into documents values (1, '', 'zwei Häuser', 'german'), (2, '', 'the houses', 'english')"
    )
    connection.execute("insert into documents values (3, '', 'houses', 'klingon'), (4, '', 'houses', null)")
    assert set(work(connection).values()) == {"written"}
    sample(connection)
    assert by_words(connection, "Haus") == [1]
    assert set(by_words(connection, "house")) == {2, 3, 4}
    connection.execute("update documents set language = 'simple' where id = 2")
    assert work(connection) == {2: "unchanged"}
    assert set(by_words(connection, "house")) == {3, 4}
    connection.execute("alter table documents rename language to tongue")
    call(connection, "sweep")
    connection.execute(
        "update pgembedd_internal.pipeline set problem_since = '-infinity'"
    )  # it has been so for a while
    call(connection, "sweep")
    assert value(connection, "select state from pgembedd_internal.pipeline") == "stopped"


def test_a_configuration_of_one_s_own_that_goes(connection: psycopg.Connection) -> None:
    connection.execute("create schema mine; create text search configuration mine.words (copy = english)")
    make_texts(connection, text_config="mine.words")
    assert by_words(connection, "invoices") == [2]
    connection.execute("drop text search configuration mine.words")
    connection.execute("update documents set content = 'an invoice again' where id = 1")
    assert work(connection) == {1: "written"}
    assert len(hybrid(connection, "invoices")) == 4
    with refused('The text search configuration mine.words of "documents" is gone.'):
        by_words(connection, "invoices")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "words"}, "The mode 'words' is not known."),
        ({"mode": None}, "The mode NULL is not known."),
        ({"mode": "text", "min_similarity": 0.5}, "min_similarity needs the query's vector, and the mode text asks"),
        ({"mode": "text", "query": " "}, "The query is empty."),
        ({"semantic_weight": "1"}, 'The option semantic_weight is "1".'),
        ({"semantic_weight": -1}, "The option semantic_weight is -1."),
        ({"semantic_weight": 0, "text_weight": 0}, "Both semantic_weight and text_weight are 0."),
        ({"text_weight": 1e308}, "The option text_weight is 1000000"),
        ({"rrf_k": 0}, "The option rrf_k is 0."),
        ({"rrf_k": 1.5}, "The option rrf_k is 1.5."),
        ({"rrf_k": 10**20}, "The option rrf_k is 100000000000000000000."),
        ({"snippet_length": -1}, "The option snippet_length is -1."),
        ({"skip": -1}, "skip -1 is out of range."),
        ({"skip": 1001}, "skip 1001 is out of range."),
        ({"snippet_marks": ["x"]}, 'The option snippet_marks is ["x"].'),
        ({"snippet_marks": [["x", "y"]]}, 'The option snippet_marks is [["x", "y"]].'),
        ({"options": Jsonb([])}, "The options are no JSON object."),
        ({"options": Jsonb({"weights": [1, 2]})}, 'The option "weights" is not known.'),
        ({"options": Jsonb({"x": "y" * 3000})}, "options has 3"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    connection: psycopg.Connection, options: dict[str, Any], message: str
) -> None:
    make_texts(connection)
    kinds = (psycopg.errors.InvalidParameterValue, psycopg.errors.ProgramLimitExceeded)
    with pytest.raises(kinds, match="^" + re.escape(message)):
        search(connection, **{"query": "card", **options})
