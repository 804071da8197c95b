"""The tools: they read, one of them asks, and their results have a bounded length."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from pgembedd.answers.questions import Question
from pgembedd.mcp.arguments import ASK_ARGUMENTS, SEARCH_ARGUMENTS, SIMILAR_ARGUMENTS, Arguments, RowArguments, read
from pgembedd.search.engine import SearchEngine
from pgembedd.search.hits import Hits

MAX_CHARACTERS = 60_000  # of a result, as JSON
MAX_VALUE = 1_000  # characters of a value in a hit's record
MAX_ROW_VALUE = 20_000  # and in a row that was asked for by its key
ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Tool:
    """A tool: what a client is told of it, its arguments, and what it does."""

    name: str
    description: str
    arguments: type[Arguments]
    work: Callable[[SearchEngine, dict[str, Any]], dict[str, Any]] | None
    """None for the one that asks."""

    def run(self, searches: SearchEngine, given: dict[str, Any] | None) -> str:
        """Returns the result as JSON. ConfigurationError, SearchError and what the searches raise."""
        assert self.work is not None
        return _bounded(self.work(searches, read(self.arguments, given)))


async def ask(answer: Callable[[Question], Awaitable[dict[str, Any]]], given: dict[str, Any] | None) -> str:
    """Returns the finished answer as JSON; `answer` has its status, answer, reason, notes and sources."""
    found = await answer(Question(**read(ASK_ARGUMENTS, given)))
    return _bounded(_given(found) | {"sources": [_given(source) for source in found["sources"]]})


def _list_pipelines(searches: SearchEngine, _: dict[str, Any]) -> dict[str, Any]:
    shown = ("name", "source", "key_columns", "text_columns", "columns")
    return {"pipelines": [{name: getattr(one, name) for name in shown} for one in searches.pipelines()]}


def _search(searches: SearchEngine, given: dict[str, Any]) -> dict[str, Any]:
    return _found(searches.search(**_given(given)))


def _similar(searches: SearchEngine, given: dict[str, Any]) -> dict[str, Any]:
    return _found(searches.similar(key=given.pop("key"), **_given(given)))


def _given(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _found(hits: Hits) -> dict[str, Any]:
    found = [{name: value for name, value in asdict(hit).items() if value is not None} for hit in hits]
    for hit in found:
        hit["record"] = _cut(hit["record"], MAX_VALUE)
    return {"hits": found, "notices": hits.notices}


def _get_row(searches: SearchEngine, given: dict[str, Any]) -> dict[str, Any]:
    row = searches.row(given["pipeline"], given["key"], 4 * MAX_CHARACTERS)
    return {"record": None if row is None else _cut(row, MAX_ROW_VALUE)}


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "list_pipelines",
            "Lists what can be searched: each pipeline with its table, key, texts, and the columns, with their types, "
            "that a filter may name.",
            Arguments,
            _list_pipelines,
        ),
        Tool(
            "search",
            "Searches the rows of a pipeline by meaning and words, with an optional filter. Returns the best hits "
            f"first: key, score, snippet and record, whose long values are cut at {MAX_VALUE} characters; get_row has "
            "them in full.",
            SEARCH_ARGUMENTS,
            _search,
        ),
        Tool("similar", "Returns the rows most like the row of a key, as search does.", SIMILAR_ARGUMENTS, _similar),
        Tool(
            "ask",
            "Answers a question from the rows of a pipeline, by a language model that is shown the best hits and no "
            "more. Returns the answer, whose [n] are its sources, notes on it, as that it cites no source, and the "
            "sources with their excerpts; status refused where the rows do not answer it. It takes some seconds.",
            ASK_ARGUMENTS,
            None,
        ),
        Tool("get_row", "Returns the row of a key: null for none.", RowArguments, _get_row),
    )
}


def _cut(row: dict[str, Any], most: int) -> dict[str, Any]:
    """Returns the row with long values cut; one that is no text becomes its beginning as JSON."""
    return {name: _cut_value(value, most) for name, value in row.items()}


def _cut_value(value: Any, most: int) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= most else f"{text[: most - 1]}…"


def _bounded(result: dict[str, Any]) -> str:
    """Returns the result as JSON of MAX_CHARACTERS at most: of a list the last ones are left out, and it is said."""
    left_out = 0
    while len(text := _as_json(result)) > MAX_CHARACTERS:
        entries = next((value for value in result.values() if isinstance(value, list)), None)
        if not entries:
            return _as_json({"left_out": "The row is too long for an answer."})
        entries.pop()
        left_out += 1
        result["left_out"] = left_out
    return text


def _as_json(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))
