"""A server with the real pg_cron, out of Debian's own package for PostgreSQL 18.

The package is in Debian's coming release only, and wants that release's C library. Both are fetched with a
private apt state (the system's lists and packages stay as they are) from the mirror this system uses anyway,
and unpacked beside the server; where the system's C library is too old, postgres runs through the unpacked
dynamic linker. Versions are not pinned, since such a release moves. Where the package cannot be had, the
tests skip.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.databases import Database, open_directory, running_server
from tests.support.downloads import cache_directory, run_or_skip
from worker.postgres import EmbeddedPostgres

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
        for package in packages:
            run_or_skip(WHAT, ["dpkg-deb", "-x", str(package), str(files)], directory)
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
    """What postgres is started through, so that pg_cron finds a libpq and a C library new enough."""
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
        mirror, keyring = _mirror()
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            _download(Path(scratch), mirror, keyring)
            found = Path(scratch, "debs")
            if not cache.exists():
                found.rename(cache)
    return [next(cache.glob(f"{name}_*.deb")) for name in (CRON_PACKAGE, LIBC_PACKAGE)]


def _mirror() -> tuple[str, str]:
    """Where this Debian gets its own release from, and the keyring it trusts for that."""
    apt = Path("/etc/apt")
    for path in [*sorted(apt.glob("sources.list.d/*.sources")), apt / "sources.list"]:
        for entry in re.split(r"\n\s*\n", path.read_text() if path.exists() else ""):
            uri = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+/debian/?)(?:\s|$)", entry, re.MULTILINE)
            if uri is not None:
                keyring = re.search(r"signed-by[:=]\s*([^\s\]]+)", entry, re.IGNORECASE)
                return uri[1], keyring[1] if keyring else ""
    pytest.skip(f"{WHAT} cannot be had: this system has no Debian package sources")


def _download(scratch: Path, mirror: str, keyring: str) -> None:
    debs = scratch / "debs"
    for directory in (debs, scratch / "lists" / "partial", scratch / "archives" / "partial"):
        directory.mkdir(parents=True)
    (scratch / "status").touch()
    signed_by = f"[signed-by={keyring}] " if keyring else ""
    (scratch / "sources.list").write_text(f"deb {signed_by}{mirror} {SUITE} main\n")
    configuration = scratch / "apt.conf"
    configuration.write_text(_apt_configuration(scratch))
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    run_or_skip(WHAT, ["apt-get", "-q", "update"], scratch, environment)
    run_or_skip(WHAT, ["apt-get", "-q", "download", CRON_PACKAGE, LIBC_PACKAGE], debs, environment)


def _apt_configuration(scratch: Path) -> str:
    """Everything apt writes or looks up is in `scratch`; proxies and keys stay the system's."""
    options = {
        "Dir::State::lists": f"{scratch}/lists",
        "Dir::State::status": f"{scratch}/status",
        "Dir::Cache": f"{scratch}",
        "Dir::Etc::sourcelist": f"{scratch}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",
    }
    return "".join(f'{name} "{value}";\n' for name, value in options.items())
