"""`pgembedd`, or a program, on a machine that has gte-small, the default model, which cannot be had everywhere.

`python -m tests.project.gte_small ARGUMENTS` is `pgembedd ARGUMENTS`, and `… gte_small python FILE` runs that file;
all-MiniLM-L6-v2 stands in for gte-small under its name.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace

from pgembedd import cli
from pgembedd.model import specs


def main() -> None:
    named = {name: getattr(specs.GTE_SMALL, name) for name in ("name", "aliases", "max_tokens")}
    specs.REGISTRY[specs.GTE_SMALL.name] = replace(specs.ALL_MINILM_L6_V2, **named)
    if sys.argv[1] == "python":
        runpy.run_path(sys.argv[2], run_name="__main__")
    else:
        cli.main()


if __name__ == "__main__":
    main()
