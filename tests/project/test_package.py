"""The package as other projects import it: nothing heavy comes with its name, its alembic hooks or its settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.owners import IMPORTABLE

ROOT = Path(__file__).parents[2]
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


def test_a_gpu_gets_the_onnxruntime_that_is_tested() -> None:
    locks = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-gpu.lock")}
    versions = [re.findall(r"^onnxruntime(?:-gpu)?==(\S+)", lock, re.MULTILINE) for lock in locks.values()]
    assert versions[0] == versions[1] != []
