"""The cache of models: room, and whether it can be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgembedd.doctor.finding import Finding
from pgembedd.model import built_in, is_cached
from pgembedd.model.files.cache import CACHE_VARIABLE

MINIMUM_FREE_BYTES = 500_000_000


def check_disk(cache_dir: Path) -> Iterator[Finding]:
    """Reports a cache that has no room or cannot be written; files that are there are read all the same."""
    existing = next(folder for folder in (cache_dir, *cache_dir.parents) if os.access(folder, os.F_OK))
    if not _writable(existing):
        filled = any(is_cached(spec) for spec in built_in())
        text = f"no file can be made in {cache_dir}: models that are not there cannot be fetched"
        remedy = f"Set {CACHE_VARIABLE} to a folder that this account may write."
        yield Finding("note" if filled else "bad", "disk", text, remedy)
        return
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free for models in {cache_dir}"
    if free < MINIMUM_FREE_BYTES:
        yield Finding("bad", "disk", text, "Make room.")
    else:
        yield Finding("ok", "disk", text)


def _writable(folder: Path) -> bool:
    """Tries it, because permissions do not tell of read-only file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
