"""The documents know every setting, command, routine, exit code and event of the program, and no others."""

import ast
import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from pgembedd import errors
from pgembedd.cli import cli
from pgembedd.database.event_channel import EVENTS
from pgembedd.settings import HttpSettings, Settings, unknown_variables, variable_of
from pgembedd.settings.conninfo import LIBPQ_VARIABLES
from tests.project.sql_reference import callers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUNBOOK = "how-to/runbook.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LEVELS = {"debug", "info", "warning", "error"}


@cache
def page(name: str) -> str:
    """A document's text."""
    return (DOCS / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any level outside of code."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/{name} has no section {heading!r}"
    return match[1]


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    """Every module of the package."""
    paths = sorted((ROOT / "worker" / "pgembedd").rglob("*.py"))
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


# -- Settings and variables --------------------------------------------------------------------------------


SETTINGS = [*fields(Settings), *fields(HttpSettings)]


@pytest.mark.parametrize("field", SETTINGS, ids=lambda field: field.name)
def test_every_setting_has_its_row(field: "Field[Any]") -> None:
    name, default, variable = field.name, field.default, variable_of(field)
    option = "none" if field.metadata["secret"] else f"`--{name.replace('_', '-')}`"
    start = f"| {option} | `{variable}` | "
    (row,) = [line for line in page("reference/configuration.md").splitlines() if line.startswith(start)]
    written = row.split(" | ")[2].strip("`")

    assert written == (str(default) if default != "" else "none")


READ = ast.dump(ast.parse("os.environ.get", mode="eval").body)


def environment_variables() -> set[str]:
    """Names that the package reads with os.environ.get, as literals or as constants of their module."""
    names: set[str] = set(LIBPQ_VARIABLES)
    for _, module in sources():
        constants = {
            target.id: node.value.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.dump(node.func) == READ:
                (name, *_) = node.args
                value = name.value if isinstance(name, ast.Constant) else constants.get(ast.unparse(name))
                names |= {value} if isinstance(value, str) else set()
    return names


def test_every_variable_that_the_program_reads_is_documented() -> None:
    variables = environment_variables()

    assert {"DATABASE_URL", "PGEMBEDD_CACHE_DIR"} <= variables
    assert unknown_variables(variables) == []
    assert [name for name in sorted(variables) if f"`{name}`" not in page("reference/configuration.md")] == []


# -- The command line --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A command by its whole name."""

    name: str
    command: click.Command


def commands(group: click.Command = cli, prefix: str = "") -> Iterator[Command]:
    """Every command that does something."""
    if not isinstance(group, click.Group):
        yield Command(prefix, group)
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, f"{prefix} {name}".strip())


@pytest.mark.parametrize("each", list(commands()), ids=lambda each: each.name)
def test_every_command_and_option_is_documented(each: Command) -> None:
    text = section("reference/cli.md", each.name)
    elsewhere = {"--" + field.name.replace("_", "-") for field in SETTINGS} | {"--database", "-d"}
    options = {
        name
        for parameter in each.command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }

    assert f"$ pgembedd {each.name}" in text
    assert [name for name in sorted(options - elsewhere) if name not in text] == []


def test_the_documents_name_no_command_that_is_not_there() -> None:
    # "pgembedd work" and its like are what a worker's sessions are called.
    connections = {"work", "leases", "listen", "release", "embed"}
    known = {each.name for each in commands()} | connections
    groups = {name.split()[0] for name in known if " " in name}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for first, second in re.findall(r"(?:`|\$ )pgembedd ([a-z]+)(?: ([a-z]+))?", text):
            name = f"{first} {second}" if first in groups and second else first
            assert name in known | groups, f"{path.name}: pgembedd {name}"


# -- SQL ---------------------------------------------------------------------------------------------------


def routines() -> dict[str, list[str]]:
    """Public functions and procedures with the names of their parameters."""
    found = {}
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        pattern = r"^create or replace (?:function|procedure) pgembedd\.([a-z]\w*)\((.*?)\)\s*(?:returns|language)"
        for name, parameters in re.findall(pattern, text, re.MULTILINE | re.DOTALL):
            found[name] = re.findall(r"(?:^|,)\s*(?:inout |out )?(\w+) [a-z@]", parameters)
    return found


def test_every_routine_is_documented_with_its_parameters() -> None:
    assert len(routines()) > 20
    for name, parameters in routines().items():
        text = section("reference/sql.md", name)
        assert "```sql" in text or callers(name) == "a worker", f"{name} has no example"
        assert [parameter for parameter in parameters if not re.search(rf"\b{parameter}\b", text)] == [], name


def test_every_view_is_documented_with_its_columns() -> None:
    columns = {
        "status": (
            "pipeline source destination model fingerprint state reason queued queued_fresh queued_backfill"
            " oldest_age failing dead blank truncated rows_per_minute coverage lag index index_due_at"
            " triggers time_left queued_estimated dead_estimated recalled"
        ),
        "truncated": "pipeline key dropped_tokens since",
        "pipelines": "dimensions embedding_column watch_columns index_options source embedding_table state created_at",
        "answers": (
            "id thread pipeline question language_model status attempt answer reason citations tokens asked_at"
            " finished_at"
        ),
        "answer_options": ("pipeline language_model url_template title_column min_similarity keep language_models"),
        "dead_letters": "pipeline key reason error attempts history enqueued_at died_at queue message",
    }
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "sql").rglob("*.sql"))

    assert set(re.findall(r"^create or replace view pgembedd\.([a-z]\w+)", text, re.MULTILINE)) == set(columns)
    for view, names in columns.items():
        assert [name for name in names.split() if f"`{name}`" not in section("reference/sql.md", view)] == []


def test_no_routine_is_documented_that_is_not_there() -> None:
    described = re.findall(r"^### (\w+)$", page("reference/sql.md"), re.MULTILINE)

    views = {"status", "dead_letters", "pipelines", "truncated", "answers", "answer_options"}
    assert set(described) == {*routines(), *views}


def test_the_documents_call_no_routine_that_is_not_there() -> None:
    known = {
        *routines(),
        *re.findall(r"pgembedd\.(_\w+)\(", "".join(map(Path.read_text, (ROOT / "sql").rglob("*.sql")))),
    }
    for path in PAGES:
        called = set(re.findall(r"\bpgembedd\.([a-z_]\w*)\(", path.read_text(encoding="utf-8")))
        assert called <= known, path.name


# -- Endpoints ---------------------------------------------------------------------------------------------


def test_the_page_of_guides_names_what_there_is() -> None:
    text = page("how-to/supabase-ai-guides.md")
    paths = set(re.findall(r"(?:`|POST |GET |:8432)(/[a-z][\w/{}-]*)", text)) - {"/api/generate"}
    described = page("reference/http.md") + page("how-to/language-models.md")
    tasks = {path for path in paths if path.startswith("/api/v1/tasks")}

    assert len(paths - tasks) > 4
    assert [path for path in paths - tasks if f"{path}`" not in described and f"{path}?" not in described] == []
    assert {path.removeprefix("/api/v1/tasks").strip("/") for path in tasks} <= {"", "{task}", "summarization"}
    mentioned = set(re.findall(r"`(\w+)\(\)`", text)) - {"row_number", "embedding_input"}
    assert mentioned <= {*routines()}


# -- What status and the doctor print ----------------------------------------------------------------------


def longest_piece(template: str) -> str:
    """The longest part of a sentence that stands in it whatever it is about; its end is the remedy."""
    return max(re.split(r"%[a-zA-Z]|%\d\$\w|\{[^}]*\}", template), key=len).strip(" :;,.'\"")


def findings() -> Iterator[str]:
    """The texts of the doctor's findings, with braces where they have values."""
    for path, module in sources():
        for function in ast.walk(module) if path.parent.name == "doctor" else ():
            if isinstance(function, ast.FunctionDef):
                named = {
                    target.id: node.value
                    for node in ast.walk(function)
                    if isinstance(node, ast.Assign)
                    for target in node.targets
                    if isinstance(target, ast.Name)
                }
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "Finding":
                        text = call.args[2]
                        yield from _texts(named.get(text.id, text) if isinstance(text, ast.Name) else text)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def test_the_runbook_begins_with_what_may_be_on_the_screen() -> None:
    parts = re.split(r"^\*\*", section(RUNBOOK, "What is on the screen"), flags=re.MULTILINE)
    states, _, log, _, metrics = (re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for part in parts[1:])
    alerts = re.findall(r"^### (Pgembedd\w+)$", page(RUNBOOK), re.MULTILINE)

    named = {state.split("`")[1] for state in states}
    assert named == {"running", "stopped", "paused", "unserved", "stalled", "index"}
    assert {event for row in log for event in re.findall(r"`(\w+)`", row)} <= set(events())
    assert {row.split("`")[1] for row in metrics} <= {"up", *re.findall(r"`(\w+)`", page("reference/metrics.md"))}
    assert set(re.findall(r"\[(Pgembedd\w+)\]", parts[-1])) == set(alerts)


def test_every_line_of_the_doctor_is_in_the_runbook() -> None:
    text = section(RUNBOOK, "The doctor finds something")
    pieces = {longest_piece(finding) for finding in findings()} - {""}

    assert len(pieces) > 25
    assert [piece for piece in sorted(pieces) if piece not in text] == []


def test_every_cause_of_a_stalled_pipeline_is_in_the_runbook_with_its_cure() -> None:
    cures = dict(re.findall(r"^\| `(.*?)`? \| (.*) \|$", section(RUNBOOK, "A pipeline is stalled"), re.MULTILINE))
    stated = "".join(
        (ROOT / f"sql/60_status/{name}.sql").read_text(encoding="utf-8") for name in ("stalled", "blocker")
    )
    code = re.sub(r"--.*|comment on [^;]*;|'\s*\n\s*'", "", stated)
    causes = {re.split("%s|`", sentence)[0].strip(" .:") for sentence in re.findall(r"'([A-Z][^']{20,})'", code)}

    assert {re.split("…|`", sentence)[0].split(": process")[0].strip(" .:") for sentence in cures} == causes
    assert len(causes) == 9


def test_what_is_said_of_a_slow_pipeline_is_in_the_runbook() -> None:
    text = section(RUNBOOK, "A pipeline is too slow")
    stated = "".join((ROOT / f"sql/40_jobs/{name}.sql").read_text(encoding="utf-8") for name in ("slow", "unserved"))
    sentences = [said.replace("''", "'") for said in re.findall(r"'((?:Code|The) (?:[^']|''){30,})'", stated)]

    assert len(sentences) == 2
    assert [said for said in sentences if longest_piece(said.split(",")[0]) not in " ".join(text.split())] == []


def test_every_reason_of_a_stopped_pipeline_is_in_the_runbook_with_its_cure() -> None:
    listed = "".join(section(RUNBOOK, "A pipeline is stopped").partition("| reason begins like")[2])
    begins = [
        each for line in re.findall(r"^\| (`.*?) \|", listed, re.MULTILINE) for each in re.findall(r"`(.*?)`", line)
    ]
    known = [re.compile(".+".join(map(re.escape, re.split(r" ?… ?", each.rstrip("."))))) for each in begins]
    files = [
        "20_pipelines/altered",
        "20_pipelines/problem",
        "20_pipelines/trigger_warning",
        "20_pipelines/check_owner",
        "22_embedding_table/problem",
        "40_jobs/nondeterministic",
    ]
    stated = "".join(
        (ROOT / f"sql/{name}.sql").read_text() for name in (*files, "50_maintenance/repair", "50_maintenance/sweep")
    )
    code = re.sub(r"--.*|comment on [^;]*;|'\s*\n\s*'", "", stated)
    strings = re.findall(r"'((?:[^']|'')*)'", code)
    # With its remedy or what follows; the content that is another one each time is a dead letter.
    said = [each for each in strings if re.match(r"(?!The content was|Run )(%s|[A-Z]).{25,}[.:,] .+\.$", each)]

    assert len(said) >= 9
    assert [each for each in said if not any(one.match(re.sub(r"%[sIL]", "x", each)) for one in known)] == []


# -- Exit codes and events ---------------------------------------------------------------------------------


def test_every_exit_code_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.PgembeddError)} | {0, 130}

    rows = re.findall(r"^\| (\d+) \|", section("reference/configuration.md", "Exit codes"), re.MULTILINE)
    assert {int(code) for code in rows} == codes


def events() -> dict[str, set[str]]:
    """Events that the package logs, with their fields."""
    found: dict[str, set[str]] = {}
    for _, module in sources():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and _logs(node.func):
                names = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                for name in (name for name in names if isinstance(name, str) and re.fullmatch(r"[a-z_]{5,}", name)):
                    found.setdefault(name, set()).update(word.arg for word in node.keywords if word.arg)
                    if ast.unparse(node.func) == "log_errors":
                        found[name] |= {"error", "sqlstate"}
    return found


def _logs(function: ast.expr) -> bool:
    text = ast.unparse(function)
    return text in ("log", "log_errors") or (text.startswith("get_logger().") and text.split(".")[1] in LEVELS)


def test_every_event_of_the_database_is_documented() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "sql").rglob("*.sql"))
    calls = re.findall(r"\b_notify\((case [^,]*|'\w+'),", text)
    told = {word for call in calls for word in re.findall(r"(?:^|then |else )'(\w+)'", call)}

    assert len(calls) == len(re.findall(r"(?:perform |, )_notify\(", text))
    assert told == set(EVENTS)
    assert set(re.findall(r"^\| `(\w+)` \|", section("reference/events.md", "Event types"), re.MULTILINE)) == told


@pytest.mark.slow
def test_every_event_is_documented_with_its_fields() -> None:
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| `(\w+)` \| \w+ \| (.*) \| .*\|$", section("reference/log.md", "Log"), re.M)
    }

    assert {"stored", "dead_letter"} <= set(events())
    assert set(rows) == set(events())
    for name, names in events().items():
        if rows[name] != "as above":
            assert [field for field in sorted(names) if f"`{field}`" not in rows[name]] == [], name
