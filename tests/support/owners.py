"""Other processes that own an embedded server, also as another user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
IMPORTABLE = os.pathsep.join([str(REPOSITORY / "worker"), str(REPOSITORY)])
"""What a child process needs in PYTHONPATH to import this checkout, the package and the tests."""
# Not `nobody`, as which root's own servers run; one with an entry in the password database, which initdb wants.
OTHER_USER: dict[str, Any] = {"user": "daemon", "group": "daemon", "extra_groups": []}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


@dataclass(frozen=True)
class Owner:
    """The process, and what it said about its server: owned, pid, conninfo; or error."""

    process: subprocess.Popen[str]
    facts: Mapping[str, Any]


@contextmanager
def other_process(data_dir: Path, *options: str, env: Mapping[str, str] | None = None, **popen: Any) -> Iterator[Owner]:
    """A process that starts the server of `data_dir`, or finds it; ended, with its own server, at the end."""
    with begin(data_dir, *options, env=env, **popen) as process:
        assert process.stdout is not None
        yield Owner(process, json.loads(process.stdout.readline()))
        process.communicate()


def begin(data_dir: Path, *options: str, env: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[str]:
    """The same without waiting for it to be up."""
    interpreter, variables = _interpreter_for(popen.get("user"))
    environment = {"PATH": os.environ["PATH"], **variables, **(env or {})}
    return subprocess.Popen(
        [interpreter, "-m", "tests.support.postgres_owner", str(data_dir), *options],
        cwd="/",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        **popen,
    )


@cache
def _interpreter_for(user: str | None) -> tuple[str, Mapping[str, str]]:
    """A Python that `user` may run, and the variables it needs; ours unless that is in a closed directory."""
    packages = [path for path in sys.path if path.endswith("-packages")]
    environment = {"PYTHONPATH": os.pathsep.join([IMPORTABLE, *packages])}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [interpreter, "-c", "import psycopg, pgembedd.embedded_postgres"]
        options = {} if user is None else OTHER_USER
        try:
            subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True, **options)
        except (OSError, subprocess.CalledProcessError):
            continue
        return interpreter, environment
    pytest.skip("no Python of this version that another user may run")
