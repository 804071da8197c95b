"""Debian packages for tests: fetched with an apt state of their own, unpacked, never installed.

The mirror and the keys are this system's; its lists and its packages stay as they are, and no rights are needed. Where
a package cannot be had, the test skips and says why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.downloads import run_or_skip

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
