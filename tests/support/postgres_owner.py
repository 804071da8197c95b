"""A process that owns an embedded server: `python -m tests.support.postgres_owner DATA_DIR [fork]`.

Prints one line of JSON once the server is up, and stops it at the end of its input. With `fork` it leaves a
child behind that inherits all its descriptors.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import PgembeddError


def main(data_dir: str, *options: str) -> None:
    try:
        with EmbeddedPostgres(Path(data_dir), fsync=False) as server:
            if "fork" in options and os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            facts = {"owned": server.owned, "pid": server.pid, "conninfo": server.conninfo()}
            print(json.dumps(facts), flush=True)
            sys.stdin.read()
    except PgembeddError as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
