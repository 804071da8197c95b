"""The code in the pages of docs/, read from top to bottom by a reader who runs all of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.clients import environment_of
from tests.support.command import Outcome, pgembedd
from tests.support.waiting import PATIENCE_S
from tests.support.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
MODULE = "tests.project.gte_small"
STAYS = {"up": "worker_started", "run": "worker_started", "serve": "http_started"}
"""Commands that run until they are stopped, and what they log when they are ready."""
CURL = 'curl() { command curl --fail-with-body --noproxy "*" --max-time 60 "$@"; }; '
FINDS = re.compile(r"\bpgembedd\.(search|similar|search_many|row_status|embed)\(|<=>")
"""SQL that has rows as its result."""
PRINTS = re.compile(r"\bprint\(|console\.log\(|stdout\.write\(")
SEARCHES = re.compile(r"""(/|\.|"|pgembedd )search\b""")
"""Commands and programs that print a row of the example."""
FOUND = re.compile("Passwords|birds.pdf")
"""What searches of the pages find."""


@dataclass(frozen=True)
class Block:
    """A block of code: its page, the line where it begins, the language that it names, its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}\n{self.text}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in the order of reading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```([^\n]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, text.count("\n", 0, each.start()) + 1, each[2], textwrap.dedent(each[3])) for each in found]


@dataclass(frozen=True)
class Command:
    """What stands behind a `$`, in one line, and the output that is shown below it."""

    line: str
    output: str


def commands(text: str) -> Iterator[Command]:
    """The commands of a block in the form of a terminal."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        match = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, re.DOTALL)
        assert match is not None
        yield Command(re.sub(r"\s*\\\n\s*", " ", match[1]), match[2])


def same_shape(shown: str, printed: str) -> bool:
    """Whether what was printed has the lines that are shown, in that order, with other numbers."""
    lines = (_shape(line) for line in printed.splitlines())
    patterns = [re.sub(r"…|\\\.\\\.\\\.", ".*", re.escape(_shape(line))) for line in shown.strip().splitlines()]
    return all(any(re.fullmatch(pattern, line) for line in lines) for pattern in patterns)


def _shape(line: str) -> str:
    return re.sub(r"-?\d[\d.]*", "0", " ".join(line.split()))


class Reader:
    """One who has a database and runs what a page says: SQL in psql, commands, programs."""

    def __init__(
        self,
        psql: str,
        yours: str,
        folder: Path,
        here: Mapping[str, str],
        *,
        named: bool = True,
        clients: bool = False,
    ) -> None:
        """`yours` is the database that pages call so, `here` what is written otherwise here.

        Unless it is `named`, the reader has yet to say that it is the one that commands use. With `clients`, programs
        run with packages of other projects, and without ours.
        """
        self._psql, self._yours, self._folder, self._here = psql, yours, folder, dict(here)
        self._environment = {"PGEMBEDD_HTTP_PORT": "0"} | ({"DATABASE_URL": yours} if named else {})
        self._clients = environment_of(folder) if clients else {}
        self._running: dict[str, WorkerProcess] = {}
        self._ended = ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.close()

    def run(self, block: Block, code: Callable[[str], int | None] = lambda _: 0) -> None:
        """Runs a block. Fails where it does not do what it says, or a command does not end with its code.

        A command without a code is left out.
        """
        text = self._as_here(block.text)
        if block.language == "console":
            for command in commands(block.text):
                if (expected := code(command.line)) is not None:
                    self._command(block, Command(self._as_here(command.line), command.output), expected)
        elif block.language == "sql":
            printed = self._checked(block, self._query(["-f", "-"], text))
            assert "(0 rows)" not in printed or not FINDS.search(text), f"{block}\nprinted\n{printed}"
            assert '"complete"' in printed or "pgembedd.answer(" not in text, f"{block}\nprinted\n{printed}"
        elif block.language == "python" or (self._clients and block.language == "js"):
            printed = self._checked(block, self._program(block.language, text))
            if PRINTS.search(text):
                assert printed, f"{block}\nprinted nothing"
                assert "Passwords" in printed or not SEARCHES.search(text), f"{block}\nprinted\n{printed}"
        else:
            self._parsed(block)

    def export(self, name: str, value: str) -> None:
        """Sets an environment variable of commands and programs."""
        self._environment[name] = value

    def outcome_of(self, *command: str) -> Outcome:
        """What becomes of a program of another language."""
        return self._finished(list(command))

    def output_of(self, *command: str) -> str:
        """What it prints. Fails where it does."""
        done = self.outcome_of(*command)
        assert done.code == 0, done
        return done.out

    def _program(self, language: str, text: str) -> Outcome:
        program = self._folder / ("program.py" if language == "python" else "program.mjs")
        program.write_text(text, encoding="utf-8")
        if not self._clients:
            return self._pgembedd("python", str(program))
        return self._finished(["python" if language == "python" else "node", str(program)])

    def save(self, name: str, text: str) -> None:
        """Keeps a block as the file that a command names."""
        (self._folder / name).write_text(text, encoding="utf-8")

    @property
    def _conninfo(self) -> str:
        """The database that commands use: the one that is named, else the private one."""
        return self._environment.get("DATABASE_URL") or self._pgembedd("postgres", "url").out.strip()

    def _as_here(self, text: str) -> str:
        """The text with the reader's own addresses and roles."""

        def as_role(match: re.Match[str]) -> str:
            role = {"user": match[1], "password": match[2]} if match[2] else {}
            return as_uri(make_conninfo(self._yours, **role))

        for there, here in self._here.items():
            text = text.replace(there, here)
        return re.sub(r"postgresql://(\w+)(?::(\w+))?@localhost/yours", as_role, text)

    def _command(self, block: Block, command: Command, code: int) -> None:
        words = shlex.split(command.line, comments=True)
        given: dict[str, str] = {}
        if words[0] == "export":
            printed = self._checked(block, self._finished(["bash", "-c", f"{command.line}\nenv -0"]))
            names = {word.partition("=")[0] for word in words[1:]}
            pairs = (each.partition("=") for each in printed.split("\0"))
            self._environment |= {name: value for name, _, value in pairs if name in names}
            return
        while re.match(r"\w+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            given[name] = value
        if words[:2] == ["pip", "install"]:
            assert _extras(words[2]) <= set(metadata("pgembedd").get_all("Provides-Extra") or []), block
        elif words[0] == "pgembedd" and words[1] in STAYS:
            self.start(words[1], *words[2:], **given)
        else:
            outcome = self._pgembedd(*words[1:], **given) if words[0] == "pgembedd" else self._shell(command.line)
            printed = self._checked(block, outcome, code)
            assert same_shape(command.output, printed), f"{block}\nprinted\n{printed}"
            assert FOUND.search(printed) or not SEARCHES.search(command.line), f"{block}\nprinted\n{printed}"
            assert "event: error" not in printed, f"{block}\nprinted\n{printed}"

    def start(self, name: str, *arguments: str, **given: str) -> None:
        """Starts a command that stays, in the place of the one of that name that was started before."""
        if name in self._running:
            self._running.pop(name).kill()
        environment = {**self._environment, **given}
        conninfo = environment.pop("DATABASE_URL", "")
        process = WorkerProcess(conninfo, *arguments, module=MODULE, command=name, **environment)
        self._running[name] = self._ended.enter_context(process)
        process.await_event(STAYS[name])
        if name == "serve" or "--http" in arguments:
            process.await_event("http_started")
            (started,) = process.named("http_started")
            self._here["127.0.0.1:8432"] = f"127.0.0.1:{started['port']}"

    def _pgembedd(self, *arguments: str, **given: str) -> Outcome:
        return pgembedd(*arguments, module=MODULE, timeout_s=PATIENCE_S, **{**self._environment, **given})

    def _query(self, arguments: list[str], text: str | None = None) -> Outcome:
        return self._finished([self._psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", self._conninfo, *arguments], text)

    def _shell(self, line: str) -> Outcome:
        if line.startswith("psql "):
            return self._query(shlex.split(line, comments=True)[1:])
        return self._finished(["bash", "-c", CURL + line])

    def _finished(self, command: list[str], text: str | None = None) -> Outcome:
        done = subprocess.run(
            command,
            input=text,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], **self._environment, **self._clients},
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _checked(self, block: Block, outcome: Outcome, code: int = 0) -> str:
        assert outcome.code == code, f"{block}\nended with {outcome.code}:\n{outcome.out}\n{outcome.err}"
        return outcome.out

    def _parsed(self, block: Block) -> None:
        """What is no program is at least well-formed."""
        if block.language == "toml":
            tomllib.loads(block.text)
        else:
            assert block.language == "json", f"{block}\nis of no language that is run here"
            for text in block.text.splitlines() if block.text.count('\n{"') else [block.text]:
                json.loads(text)


def as_uri(conninfo: str) -> str:
    """A connection string that needs no quotes in a shell."""
    parts = conninfo_to_dict(conninfo)
    user, password, name = (quote(str(parts[each]), safe="") for each in ("user", "password", "dbname"))
    return f"postgresql://{user}:{password}@{parts['host']}:{parts['port']}/{name}"


def _extras(requirement: str) -> set[str]:
    match = re.fullmatch(r"pgembedd(?:\[([\w,]+)\])?", requirement)
    assert match is not None, requirement
    return set((match[1] or "").split(",")) - {""}
