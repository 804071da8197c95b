"""The parts of docs/reference/sql.md that sql/ determines: signatures, callers, comments, parameters, columns.

`python -m tests.project.sql_reference` writes them; a test compares. Under the heading of a routine or view they are
the first block and the paragraph after it. Tables have marks around them, and the last cell of each row of parameters
or columns is written by hand, and stays.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "sql.md"
SECTION = re.compile(r"(^### (\w+)\n\n)```\n(?:(?!```).*\n)+```\n\n(?:.+\n)+", re.MULTILINE)
TABLE = re.compile(r"(<!-- sql: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
ROUTINE = re.compile(
    r"^create or replace (function|procedure) pgembedd\.([a-z]\w*)\(((?:[^()]|\([^()]*\))*)\)\s*"
    r"(?:returns (.*?)\s*)?^language",
    re.MULTILINE | re.DOTALL,
)
COMMENT = re.compile(
    r"^comment on (?:function|procedure|view) pgembedd\.([a-z]\w*)(?:\([^)]*\))?\s+is((?:\s*'(?:[^']|'')*')+);",
    re.MULTILINE,
)
VIEW = re.compile(r"^create or replace view pgembedd\.([a-z]\w*)", re.MULTILINE)
OWNER = "the owner"
NO_BREAK = "\0"
DECLARED = re.compile(r"(?:variadic |inout )?(\w+) ([a-z][\w. ]*?(?:\[\])?)(?: default (.+))?", re.DOTALL)
# The functions that list what a role is granted, and what such a role is called.
CALLERS = {
    "_worker_functions": "a worker",
    "_operator_privileges": "an operator",
    "_search_functions": "grant_search() roles",
    "_ask_functions": "grant_ask() roles",
    "_ask_privileges": "grant_ask() roles",
}


@dataclass(frozen=True)
class Routine:
    """A function or procedure as it is declared."""

    kind: str
    name: str
    parameters: tuple[str, ...]
    returns: str

    def columns(self) -> tuple[str, ...]:
        """The columns of the table that it returns, each with its type."""
        table = re.fullmatch(r"table \((.*)\)", self.returns)
        return tuple(split(table[1])) if table else ()


def split(declared: str) -> Iterator[str]:
    """The members of a list, which may hold commas in quotes or parentheses."""
    yield from (part.strip() for part in re.findall(r"(?:'[^']*'|\([^()]*\)|[^,'()])+", declared))


@cache
def sources() -> str:
    """All of sql/, with types as users name them."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sql").rglob("*.sql")))
    return text.replace("@extschema:vector@.", "").replace("pg_catalog.", "")


@cache
def routines() -> dict[str, list[Routine]]:
    """The public routines by name, each with its forms."""
    found: dict[str, list[Routine]] = {}
    for kind, name, parameters, returns in ROUTINE.findall(sources()):
        declared, returned = tuple(split(" ".join(parameters.split()))), " ".join(returns.split())
        if returned == "setof record":
            declared, returned = as_table(declared)
        found.setdefault(name, []).append(Routine(kind, name, declared, returned))
    return found


def as_table(declared: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The parameters, and the table of those that are OUT or INOUT: a name can be a parameter and a column so alone."""
    columns = [
        one.partition(" ")[2].partition(" default ")[0] for one in declared if one.startswith(("out ", "inout "))
    ]
    parameters = tuple(one.removeprefix("inout ") for one in declared if not one.startswith("out "))
    return parameters, f"table ({', '.join(columns)})"


@cache
def views() -> list[str]:
    """The public views."""
    return VIEW.findall(sources())


@cache
def comments() -> dict[str, list[str]]:
    """What the comments say of each name."""
    found: dict[str, list[str]] = {}
    for name, literals in COMMENT.findall(sources()):
        text = "".join(re.findall(r"'((?:[^']|'')*)'", literals)).replace("''", "'")
        if text not in found.setdefault(name, []):
            found[name].append(text)
    return found


@cache
def callers(name: str) -> str:
    """The roles other than the owner that may call a routine or read a view."""
    found = []
    for function, role in CALLERS.items():
        body = re.search(
            rf"^create or replace function pgembedd(?:_internal)?\.{function}\(.*?\$\$(.*?)\$\$", sources(), re.M | re.S
        )
        assert body is not None, function
        granted = " ".join(re.findall(r"'select on ([\w, ]+)", body[1])) if name in views() else body[1]
        patterns = re.findall(r"~ '([^']+)'", granted)
        named = re.findall(r"[( ,]'?(\w+)'?(?=[,) ])", f" {granted} ")
        if role not in found and (name in named or any(re.search(pattern, name) for pattern in patterns)):
            found.append(role)
    if name == "embed":
        found = ["grant_embed() roles"]
    return ", ".join(found) or OWNER


def code(lines: list[str], name: str) -> str:
    """A block of signatures, with who may call them besides the owner."""
    by = callers(name)
    if by != OWNER and len(lines[-1]) + len(by) < 110:
        lines = [*lines[:-1], f"{lines[-1]}      -- {by}"]
    elif by != OWNER:
        lines = [*lines, f"    -- {by}"]
    return "\n".join(["```", *lines, "```"])


def signature(routine: Routine, section: str) -> list[str]:
    """A routine with its parameters and what it returns, as far as no table of its section lists them."""
    parameters, returns = list(routine.parameters), routine.returns
    if "\n| parameter |" in section:
        forms = [one.split()[0] for form in routines()[routine.name] for one in form.parameters if required(one)]
        parameters = [one for one in parameters if one.split()[0] in forms] + ["…"]
    if routine.columns():
        columns = [one.replace(" ", NO_BREAK) for one in routine.columns()]
        returns = "table (…)" if "\n| column |" in section else f"table ({', '.join(columns)})"
    start = f"{'call ' * (routine.kind == 'procedure')}pgembedd.{routine.name}("
    each = [one.replace(" ", NO_BREAK) for one in parameters]
    whole = f"{start}{', '.join(each)})" + (f" returns {returns}" if returns else "")
    return [line.replace(NO_BREAK, " ") for line in textwrap.wrap(whole, 118, subsequent_indent=" " * 4)]


def required(parameter: str) -> bool:
    """Tells that a parameter has no default."""
    return " default " not in parameter


def described(name: str, page: str) -> str:
    """The signatures of a routine, or a view, and its comment."""
    section = re.search(rf"^### {name}\n(.*?)(?=^#+ |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, name
    lines = [line for one in routines().get(name, []) for line in signature(one, section[1])]
    text = textwrap.fill(" ".join(comments()[name]), 120, break_on_hyphens=False, break_long_words=False)
    return f"{code(lines or [f'pgembedd.{name}'], name)}\n\n{text}\n"


def rows(declared: tuple[str, ...], before: str, head: list[str]) -> str:
    """A table of what is declared; the explanations are those that it had."""
    said = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", before, re.MULTILINE))
    lines = [f"| {' | '.join(head)} | |", "|---" * (len(head) + 1) + "|"]
    for one in declared:
        parts = DECLARED.fullmatch(one)
        assert parts is not None, one
        name, type_, default = parts.groups()
        shown = ["required" if default is None else f"`{default}`" if default.startswith("'") else default]
        lines.append(f"| {' | '.join([f'`{name}`', type_, *shown[: len(head) - 2]])} | {said.get(name, '')} |")
    return "\n".join(lines) + "\n"


def table(what: str, before: str) -> str:
    """A table of the page as it is to be."""
    match what.split(" of "):
        case ["parameters", name]:
            return rows(routines()[name][0].parameters, before, ["parameter", "type", "default"])
        case ["columns", name]:
            return rows(routines()[name][0].columns(), before, ["column", "type"])
    raise ValueError(what)


def rendered(page: str) -> str:
    """The page with its parts as they are to be."""
    page = TABLE.sub(lambda found: f"{found[1]}{table(found[2], found[3])}{found[4]}", page)
    return SECTION.sub(lambda found: f"{found[1]}{described(found[2], page)}", page)


def main() -> None:
    """Write the parts."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
