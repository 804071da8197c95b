"""Packages of npm, fetched once into the cache of the tests."""

from __future__ import annotations

from pathlib import Path

from tests.support.downloads import cache_directory, run_or_skip


def npm_folder(name: str, *packages: str) -> Path:
    """A folder with these packages, `package@version` each, where Node finds them for scripts next to them.

    Skips the test where they cannot be had.
    """
    folder = cache_directory(f"{name}-{'-'.join(each.rpartition('@')[2] for each in packages)}")
    if not (folder / "node_modules" / packages[0].rpartition("@")[0]).exists():
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
        run_or_skip(name, install, folder)
    return folder
