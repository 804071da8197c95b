"""A real browser: the Chromium of this system, else Debian's headless one, unpacked into the cache (100 MB).

Its libraries that the system lacks come along; what the system has is used from there. Where it cannot be had, the
tests skip and say why.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import debian
from tests.support.downloads import cache_directory, run_or_skip

if TYPE_CHECKING:  # imported where it is used, because every process collects these tests and none of the default does
    from playwright.sync_api import Browser, Page

WHAT, PACKAGE = "Chromium", "chromium-headless-shell"
INSTALLED = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Without a sandbox: an ordinary user may make none in many containers. It opens the pages of these tests only.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Program:
    """The program to start, and the path of libraries that the system lacks."""

    path: Path
    libraries: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str | float | bool]:
        """The environment to start it in."""
        found = [str(path) for path in self.libraries] + [os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, **({"LD_LIBRARY_PATH": ":".join(filter(None, found))} if self.libraries else {})}


@dataclass
class Complaints:
    """The browser's errors about the pages that it loaded."""

    lines: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note what is written to the console, which policy violations are, and what fails to load."""
        page.on("console", lambda message: self.lines.append(message.text))
        page.on("pageerror", lambda error: self.lines.append(str(error)))
        page.on("requestfailed", lambda request: self.lines.append(f"{request.url} {request.failure}"))


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser with its own empty profile. May skip the test."""
    from playwright.sync_api import sync_playwright

    found = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.path, args=FLAGS, env=found.environment())
        try:
            yield browser
        finally:
            browser.close()


def program() -> Program:
    """The system's own Chromium, or Debian's out of the cache. May skip the test."""
    for name in INSTALLED:
        if path := shutil.which(name):
            return Program(Path(path))
    files = cache_directory("chromium") / platform.machine()
    if not files.exists():
        with tempfile.TemporaryDirectory(dir=files.parent) as scratch:
            fetched = _fetch(Path(scratch))
            if not files.exists():
                fetched.rename(files)
    own = files / "usr" / "lib" / "chromium"  # where it finds its own by itself
    libraries = {path.parent for path in (files / "usr" / "lib").rglob("*.so*")} - {own}
    return Program(own / PACKAGE, tuple(sorted(libraries)))


def _fetch(scratch: Path) -> Path:
    """The package's files and those of what it needs and this system lacks."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    own = debian.mirror(WHAT)
    security = own.line(f"{release}-security", own.uri.rstrip("/") + "-security")
    sources = own.line(release) + security
    environment = debian.updated(WHAT, scratch, sources, installed=True)
    download = ["apt-get", "-q", "-y", "--download-only", "--no-install-recommends", "install", PACKAGE]
    run_or_skip(WHAT, download, scratch, environment)
    files = scratch / "files"
    debian.unpack(WHAT, sorted((scratch / "archives").glob("*.deb")), files)
    return files
