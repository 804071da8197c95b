"""Debian packages for tests: fetched with an apt state of their own, unpacked, never installed.

The mirror and the keys are this system's; its lists and its packages stay as they are, and no rights are needed. Where
a package cannot be had, the test skips and says why.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.downloads import cache_directory, run_or_skip

SUITE = "trixie"  # of the folders with whole programs
SHELL = ("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "libc-bin")
INSTALLED = Path("/var/lib/dpkg/status")


@dataclass(frozen=True)
class Mirror:
    """The source of this Debian's own release, and the keyring that it trusts for that ("": apt's default)."""

    uri: str
    keyring: str

    def line(self, suite: str, uri: str = "") -> str:
        """A line for sources.list."""
        signed_by = f"[signed-by={self.keyring}] " if self.keyring else ""
        return f"deb {signed_by}{uri or self.uri} {suite} main\n"


def mirror(what: str) -> Mirror:
    """This system's mirror. Skips the test for `what` where there is none."""
    apt = Path("/etc/apt")
    for path in [*sorted(apt.glob("sources.list.d/*.sources")), apt / "sources.list"]:
        for entry in re.split(r"\n\s*\n", path.read_text() if path.exists() else ""):
            uri = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+/debian/?)(?:\s|$)", entry, re.MULTILINE)
            if uri is not None:
                keyring = re.search(r"signed-by[:=]\s*([^\s\]]+)", entry, re.IGNORECASE)
                return Mirror(uri[1], keyring[1] if keyring else "")
    pytest.skip(f"{what} cannot be had: this system has no Debian package sources")


def updated(what: str, scratch: Path, sources: str, *, installed: bool = False) -> Mapping[str, str]:
    """The environment of an apt that keeps its state in `scratch` and knows `sources`.

    With `installed` it knows what this system has, too; else it takes nothing to be there.
    """
    for directory in (scratch / "lists" / "partial", scratch / "archives" / "partial"):
        directory.mkdir(parents=True)
    # A copy: apt locks the directory that this file is in.
    (scratch / "status").write_bytes(INSTALLED.read_bytes() if installed and INSTALLED.exists() else b"")
    (scratch / "sources.list").write_text(sources)
    configuration = scratch / "apt.conf"
    configuration.write_text(_configuration(scratch))
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    run_or_skip(what, ["apt-get", "-q", "update"], scratch, environment)
    return environment


def unpack(what: str, packages: Sequence[Path], directory: Path) -> None:
    """Put the files of packages under a directory, which is made."""
    for package in packages:
        run_or_skip(what, ["dpkg-deb", "-x", str(package), str(directory)], directory.parent)


def root(what: str, name: str, packages: Sequence[str], finish: Callable[[Path], None] = lambda _: None) -> Path:
    """A folder with a shell, these packages and all that they need, from the cache or fetched. May skip the test.

    None of their own scripts is run. `finish` adds to a folder that was made.
    """
    cache = cache_directory("roots") / f"{name}-{platform.machine()}"
    if not cache.exists():
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            state, made = Path(scratch, "apt"), Path(scratch, "root")
            environment = updated(what, state, mirror(what).line(SUITE))
            fetch = ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", *SHELL, *packages]
            run_or_skip(what, fetch, Path(scratch), environment)
            # The first makes /bin and /lib links to those in /usr.
            debs = sorted((state / "archives").glob("*.deb"), key=lambda deb: not deb.name.startswith("base-files_"))
            unpack(what, debs, made)
            for file in ("passwd", "group"):
                shutil.copy(made / "usr/share/base-passwd" / f"{file}.master", made / "etc" / file)
            for file in ("resolv.conf", "hosts"):
                (made / "etc" / file).touch()
            for folder in ("proc", "sys", "dev", "mnt", "tmp", "run"):
                (made / folder).mkdir(exist_ok=True)
            finish(made)
            made.chmod(0o755)
            if not cache.exists():
                made.rename(cache)
    return cache


def program(what: str, name: str, packages: Sequence[str], path: str) -> list[str]:
    """The start of a command line that runs a program of such a folder with its own libraries. May skip the test."""
    folder = root(what, name, packages)
    linker = next(file for file in folder.rglob("ld-linux*.so*") if not file.is_symlink())
    libraries = [str(linker.parent), *map(str, linker.parent.glob("systemd"))]
    return [str(linker), "--library-path", ":".join(libraries), str(folder / path)]


def _configuration(scratch: Path) -> str:
    """Everything apt writes or looks up is in `scratch`; proxies and keys stay the system's."""
    options = {
        "Dir::State::lists": f"{scratch}/lists",
        "Dir::State::status": f"{scratch}/status",
        "Dir::State::extended_states": f"{scratch}/extended_states",
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
