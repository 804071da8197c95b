"""The schema that this program brings: its migrations, the files of sql/, and the numbers that stand in them."""

import hashlib
import re
from pathlib import Path


def folder(name: str) -> Path:
    """Returns the folder `migrations` or `sql`, inside an installed wheel or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parents[1] / name


def sql_files() -> list[Path]:
    """Returns the files of sql/ in load order: by path."""
    return sorted(folder("sql").rglob("*.sql"))


def sql_digest() -> str:
    """Returns a digest of sql/, by which the doctor recognizes the functions of a database."""
    digest, root = hashlib.sha256(), folder("sql")
    for path in sql_files():
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _head() -> str:
    return max(path.name.partition("_")[0] for path in folder("migrations").glob("versions/[0-9]*.py"))


def _found(pattern: str, *path: str) -> str:
    """Returns what a pattern finds once in a file of sql/."""
    (found,) = re.findall(pattern, folder("sql").joinpath(*path).read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


HEAD = _head()
"""The revision of the newest migration."""
INTERFACE = int(_found(r"function pgembedd_internal\.interface\(n(\d+) ", "40_jobs", "interface.sql"))
"""The number of the interface between workers and the database."""
