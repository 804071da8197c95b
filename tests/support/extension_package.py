"""A server with an extension out of Debian's own package for PostgreSQL 18 or 17.

Such packages are in newer releases than this one may be, and want that release's C library. Both are fetched with a
private apt state (the system's lists and packages stay as they are) from the mirror this system uses anyway, and
unpacked next to the server; where the system's C library is too old, postgres runs through the unpacked dynamic linker.
Versions are not pinned, since such a release moves. Where the package cannot be had, the tests skip.
"""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support import debian
from tests.support.databases import open_directory, running_server
from tests.support.downloads import cache_directory, run_or_skip
from tests.support.postgres_versions import EMBEDDED, binaries, running_version

SUITES = {18: "forky", 17: "trixie"}
LIBC_PACKAGE = "libc6"


@contextmanager
def offering_server(what: str, package: str, **settings: str) -> Iterator[EmbeddedPostgres]:
    """A server of its own that can load the extension `what`, which is not created yet. May skip the test."""
    packages = _packages(what, package, EMBEDDED)
    with open_directory() as directory:
        files = directory / "files"
        debian.unpack(what, packages, files)
        found = {
            "dynamic_library_path": f"$libdir:{files}/usr/lib/postgresql/18/lib",
            "extension_control_path": f"$system:{files}/usr/share/postgresql/18",
        }
        launcher = _launcher(what, files, packages[0], EmbeddedPostgres(files).bin_dir.parent)
        with running_server(settings=found | settings, launcher=launcher) as server:
            yield server


@contextmanager
def offering_version(what: str, package: str, major: int, **settings: str) -> Iterator[EmbeddedPostgres]:
    """The same with a version before 18, which looks for extensions among its own files only. May skip the test."""
    packages, installation = _packages(what, package, major), binaries(major)
    with open_directory() as directory:
        files = directory / "files"
        debian.unpack(what, packages, files)

        def add(root: Path) -> None:
            for place in (f"lib/postgresql/{major}/lib", f"share/postgresql/{major}"):
                own = root / place.split("/", maxsplit=1)[0]
                shutil.copytree(files / "usr" / place, own, dirs_exist_ok=True)

        launcher = _launcher(what, files, packages[0], installation.root)
        with running_version(installation, add, launcher, **settings) as server:
            yield server


def _launcher(what: str, files: Path, package: Path, installation: Path) -> list[str]:
    """Returns the launcher of postgres, so that the extension finds a libpq and a C library new enough."""
    libraries = files / "own"
    libraries.mkdir()
    shutil.copy(installation / "lib" / "libpq.so.5", libraries)
    depends = run_or_skip(what, ["dpkg-deb", "-f", str(package), "Depends"], files)
    needed = re.search(r"libc6 \(>= ([0-9.]+)\)", depends)
    if needed is None or _numbers(platform.libc_ver()[1]) >= _numbers(needed[1]):
        return ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}"]
    linker = next(path for path in files.rglob("ld-linux*.so*") if not path.is_symlink())
    return [str(linker), "--library-path", f"{linker.parent}:{libraries}"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))


def _packages(what: str, package: str, major: int) -> list[Path]:
    """The package and the C library's, from the cache or from the system's mirror. May skip the test."""
    cache = cache_directory(what if major == EMBEDDED else f"{what}-{major}") / platform.machine()
    if not cache.exists():
        sources = debian.mirror(what).line(SUITES[major])
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            environment = debian.updated(what, Path(scratch), sources)
            found = Path(scratch, "debs")
            found.mkdir()
            run_or_skip(what, ["apt-get", "-q", "download", package, LIBC_PACKAGE], found, environment)
            if not cache.exists():
                found.rename(cache)
    return [next(cache.glob(f"{name}_*.deb")) for name in (package, LIBC_PACKAGE)]
