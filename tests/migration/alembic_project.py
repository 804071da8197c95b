"""A user's alembic project in a directory of a test's own, made of the examples in docs/how-to/alembic.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import alembic
import pytest
from alembic.config import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alembic.md"
TEMPLATE = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
INI = "[alembic]\nscript_location = %(here)s\nprepend_sys_path = %(here)s\npath_separator = os\n"


def _blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def marked_example() -> str:
    """The model of an embedding table."""
    (model,) = [block for block in _blocks() if block.startswith("class Chunk(")]
    return model


def examples() -> dict[str, str]:
    """The files in the page, by the name in their first line."""
    named = [(re.match(r"# (\S+\.py)\n", block), block) for block in _blocks()]
    return {match[1]: block for match, block in named if match}


@dataclass(frozen=True)
class Project:
    """Files of an alembic project; the database is in the environment."""

    directory: Path

    def write(self, name: str, text: str) -> None:
        """A file of the project."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a part of a file that has it."""
        text = (self.directory / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def add_model(self, model: str) -> None:
        """Another class in models.py; an empty text adds nothing."""
        self.edit("models.py", "\n\ndef related", f"\n\n{model}\n\ndef related")
        self.edit("models.py", "import select", "import Text, select")

    def revision(self, number: str, before: str | None, upgrade: str, downgrade: str = "pass") -> None:
        """A migration with these statements."""
        self.write(
            f"versions/{number}.py",
            "import datetime\nimport sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = {number!r}\ndown_revision = {before!r}\n"
            f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n",
        )

    def run(self, *arguments: str) -> str:
        """The alembic command in this process; what it printed. A CommandError is raised, not printed."""
        output = StringIO()
        with fresh_models(), redirect_stdout(output):
            main(["--raiseerr", "-q", "-c", str(self.directory / "alembic.ini"), *arguments])
        return output.getvalue()

    def generated(self) -> tuple[str, str]:
        """Returns what autogenerate writes now: the body of upgrade() and the whole script, which is deleted again."""
        before = set(self.directory.glob("versions/*.py"))
        self.run("revision", "--autogenerate", "-m", "generated")
        (made,) = set(self.directory.glob("versions/*.py")) - before
        script = made.read_text(encoding="utf-8")
        made.unlink()
        match = re.search(r"Alembic - please adjust! ###\n(.*?)\s+# ### end", script, re.DOTALL)
        assert match is not None
        return match[1].strip(), script


@contextmanager
def fresh_models() -> Iterator[None]:
    """Each project has a module of this name, and may change it between commands."""
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # two versions of a file within a second are the same to a cache
    sys.modules.pop("models", None)
    try:
        yield
    finally:
        sys.modules.pop("models", None)
        sys.path[:], sys.dont_write_bytecode = path, bytecode


def make_project(directory: Path, conninfo: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project of the page for that database."""
    monkeypatch.setenv("DATABASE_URL", conninfo)
    project = Project(directory)
    project.write("alembic.ini", INI)
    project.write("script.py.mako", TEMPLATE.read_text(encoding="utf-8"))
    for name, text in examples().items():
        project.write(name, text)
    return project
