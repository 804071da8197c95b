"""Running `pgembedd` as its users do: a process with an environment, an exit code and two streams."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

from tests.support.forking import start


@dataclass(frozen=True)
class Outcome:
    """The result of a finished command: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def refused(self, code: int) -> str:
        """The one sentence it ended with; fails unless it was that exit code, one line and no traceback."""
        assert self.code == code, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        assert self.err.startswith("pgembedd: "), self.err
        assert len(self.err.strip().splitlines()) == 1, self.err
        return self.err.strip()


def pgembedd(
    *arguments: str, database: str | None = None, timeout_s: float = 60, module: str = "pgembedd", **environment: str
) -> Outcome:
    """Run a command to its end. Nothing of the caller's database environment reaches it.

    `module` is `pgembedd`, or one of tests.support that changes something before it calls the same command.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))}
    # The cache of models is the machine's, not a database's.
    kept = {name: os.environ[name] for name in ("PGEMBEDD_CACHE_DIR",) if name in os.environ}
    named = {} if database is None else {"DATABASE_URL": database}
    env = {**inherited, **kept, "COLUMNS": "200", **named, **environment}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(module, arguments, env, out.fileno(), err.fileno(), frees=False)
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return Outcome(code, out.read(), err.read())
