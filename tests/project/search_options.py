"""The parts of the documents that list the options of a search, made from their declaration and from sql/.

`python -m tests.project.search_options` writes them; a test compares.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from pgembedd.cli.search import command
from pgembedd.search.options import SearchOptions, options_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "reference"
PART = re.compile(r"(<!-- (?:search: )(.+?) -->\n).*?(\n<!-- end -->)", re.DOTALL)
TYPES: dict[Any, str] = {
    int: "integer",
    float: "double precision",
    str: "text",
    UUID: "uuid",
    Mapping[str, Any]: "jsonb",
    Sequence[str]: "text[]",
}

# What a reader of the reference wants to know besides.
ASKED = """
| `pipeline` | text | required | the pipeline's name |
| `source` | anyelement | required | a null of the table's row type: `null::documents` |
| `query` | text | required | the words; a worker embeds them with the pipeline's model, as [`embed()`](#embed) does |
"""
MORE = {  # than the help
    "snippet_length": "of the snippet at most, in characters; 0: no snippet",
    "k": "how many hits at most, 1 to 1000",
    "filter": "which rows may be found, as data ([operators](../how-to/search.md#filters))",
    "mode": "`semantic`: by the distance of the vectors; `text`: by words; `hybrid`: both, fused. Hybrid is semantic "
    "where the pipeline has no words, the caller may not read them, or `query` is null",
    "per": "`row`: each row once, with its best chunk; `chunk`: every chunk is a hit",
    "min_similarity": "hits below this are left out, those by words too; not with `mode => 'text'`. From -1 to 1, with "
    "`l2` from 0 to 1, with `ip` any number; another is refused",
    "embedding": "the query's vector, where the caller has it: no worker is asked, and `query` may be null",
    "options": "[what few searches change](#options-of-a-search), as JSON",
    "semantic_weight": "hybrid: how much the order by meaning counts",
    "text_weight": "hybrid: how much the order by words counts",
    "rrf_k": "hybrid: a hit counts the sum of weight / (`rrf_k` + rank) over both orders, by words times the share of "
    "the query's idf that it holds",
    "skip": "how many hits to leave out: the [page](../how-to/search.md#pages) after them; null is 0",
    "snippet_marks": "what is put before and after each word of the query in the snippet, the first hundred",
}
UNITS = {"k": " hits", "skip": " hits", "snippet_length": " characters"}
BOUNDS = {
    "k": "of a tool 50; 50 sources of an answer",
    "snippet_marks": "2 members; a snippet marks its first 100 words",
    "filter": "also its values together, written out; 1,000 columns and operators, and 64 levels; `$in` and `$nin` "
    "take any number of values within that, on a column of arrays 1,000",
    "min_similarity": "with ip that of a `float4`",
}
AT_MOST = {"filter": "8,000,000 bytes as `jsonb`", "min_similarity": "1 with the cosine distance or l2"}


@cache
def parameters(function: str, folder: str = "72_search") -> dict[str, tuple[str, str | None]]:
    """Each parameter's type and default, as sql/ defines them: of several functions of this name, the first."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sql" / folder).glob("*.sql")))
    found = re.search(
        rf"^create or replace (?:function|procedure) pgembedd\.{function}\((.*?)\)\s*(?:returns|language)",
        text,
        re.M | re.S,
    )
    assert found is not None, function
    written = found[1].replace("@extschema:vector@.", "")
    declared = re.findall(r"(\w+) ([a-z ]+?(?:\[\])?)(?: default ('[^']*'|\w+))?(?:,\s|\s*$)", written)
    return {name: (kind, default or None) for name, kind, default in declared}


def of_sql() -> str:
    """The parameters of search()."""
    rows, options = [], options_of(SearchOptions)
    for name, (kind, default) in parameters("search").items():
        if name in options or name == "options":
            shown = f"`{default}`" if default and default.startswith("'") else default
            rows.append(f"| `{name}` | {kind} | {shown} | {MORE[name]} |")
    return f"| parameter | type | default | |\n|---|---|---|---|{ASKED}" + "\n".join(rows)


def of_json() -> str:
    """The members of SQL's parameter `options`."""
    rows = []
    for name, (kind, option) in options_of(SearchOptions).items():
        if option.is_rare:
            bounds = f"{option.least:g} to {option.most:,.10g}" if kind in (int, float) else f"{option.most} characters"
            typed = {int: "integer", float: "number"}.get(kind, f"{option.members} texts")
            rows.append(f"| `{name}` | {typed}, {bounds} | `{json.dumps(option.default)}` | {MORE[name]} |")
    return "\n".join(["| option | type | default | |", "|---|---|---|---|", *rows])


def of_command() -> str:
    """The options of the command."""
    rows = [
        f"| {', '.join(f'`{flag}`' for flag in one.opts)} | {shown(one)} | {one.help} |"
        for one in command.params
        if isinstance(one, click.Option) and one.name in options_of(SearchOptions)
    ]
    return "\n".join(["| option | default | |", "|---|---|---|", *rows])


def shown(option: click.Option) -> str:
    """An option's default as it is typed."""
    default = option.default if isinstance(option.default, tuple) else [option.default]
    return " ".join(f"`{value}`" for value in default if value is not None) or "none"


def of_limits() -> str:
    """The bounds of the options."""
    rows = []
    for name, (kind, option) in options_of(SearchOptions).items():
        if option.most is not None:
            at_most = f"{option.most:,.10g}{UNITS.get(name, '')}"
            if kind == Sequence[str]:
                at_most += " characters each"
            rows.append(f"| `{name}` | {AT_MOST.get(name, at_most)} | {BOUNDS.get(name, '')} |".replace("|  |", "| |"))
    return "\n".join(["| option of a search | at most | |", "|---|---|---|", *rows])


PARTS = {
    "options in SQL": of_sql,
    "members of options": of_json,
    "options of the command": of_command,
    "bounds of the options": of_limits,
}


def rendered(page: str) -> str:
    """The page with its parts as they are to be."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}{part[3]}", page)


def main() -> None:
    """Write the parts."""
    for path in sorted(DOCS.glob("*.md")):
        path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
