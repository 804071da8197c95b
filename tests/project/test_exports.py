"""What a program imports from pgembedd is complete: `__all__` has every type and error that a public call knows."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_overloads, get_type_hints, is_typeddict

import pytest

import pgembedd
from pgembedd import errors
from tests.project.public_names import public_calls
from tests.support.npm import npm_folder

ROOT = Path(__file__).parents[2]
PYRIGHT = "pyright@1.1.414"
EXPORTED = {name: getattr(pgembedd, name) for name in pgembedd.__all__}
NOT_RAISED = {
    "ModelMismatchError": "by a service, which has models next to a database",
    "ModelNotConfiguredError": "by a worker's model of a provider",
    "ProviderBusyError": "by a worker's model of a provider",
    "ProviderRefusedError": "by a worker's model of a provider",
    "RowFailure": "by a worker's model of a provider, and not an error of ours",
    "SearchRoleError": "by a service, at its start",
}
PROGRAM = Path(__file__).with_name("users_program.py")


def types_in(annotation: Any) -> Iterator[Any]:
    """The classes of ours in an annotation, those of the members of a TypedDict included."""
    origin = get_origin(annotation) or annotation
    if inspect.isclass(origin) and origin.__module__.startswith("pgembedd"):
        yield origin
        if is_typeddict(origin):
            for hint in get_type_hints(origin).values():
                yield from types_in(hint)
    for argument in get_args(annotation):
        yield from types_in(argument)


def test_every_type_of_a_public_call_is_exported() -> None:
    exported = {get_origin(one) or one for one in EXPORTED.values()}
    missing = {
        (name, found.__qualname__)
        for name, call in public_calls()
        for form in [call, *get_overloads(call)]
        for hint in get_type_hints(inspect.unwrap(form)).values()
        for found in types_in(hint)
        if found not in exported
    }
    assert sorted(missing) == []


def test_every_field_of_a_result_has_an_exported_type() -> None:
    exported = {get_origin(one) or one for one in EXPORTED.values()}
    results = [one for one in exported if inspect.isclass(one) and hasattr(one, "__dataclass_fields__")]
    fields = [(one, hint) for one in results for hint in get_type_hints(one).values()]

    assert len(results) > 5
    assert [(one, found) for one, hint in fields for found in types_in(hint) if found not in exported] == []


def raised() -> Iterator[str]:
    """The names of our errors that the rooms raise which a program's calls reach."""
    room = ROOT / "worker" / "pgembedd"
    paths = [path for part in ("language", "model", "search", "text") for path in (room / part).rglob("*.py")]
    for path in [*paths, room / "sessions.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and hasattr(errors, ast.unparse(node.func)):
                yield ast.unparse(node.func)


def test_every_error_of_a_public_call_is_exported() -> None:
    found = {name for name in raised() if name.endswith(("Error", "Failure"))}

    assert {"SearchError", "GenerationCancelledError", "ContextTooLongError", "UnknownTokenError"} <= found
    assert found - NOT_RAISED.keys() - EXPORTED.keys() == set()
    assert NOT_RAISED.keys() <= found, "one is not raised any more"
    assert NOT_RAISED.keys() & EXPORTED.keys() == set()


def test_every_exported_error_has_the_one_base() -> None:
    found = [one for one in EXPORTED.values() if inspect.isclass(one) and issubclass(one, Exception)]

    assert len(found) > 8
    assert all(issubclass(one, pgembedd.PgembeddError) for one in found)


def test_the_users_program_imports_every_name() -> None:
    """The other two tests of it see each name with the types that a checker sees."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    (imported,) = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "pgembedd"]

    assert sorted(alias.name for alias in imported.names) == sorted(pgembedd.__all__)


@pytest.mark.release
def test_mypy_finds_the_types_from_outside(tmp_path: Path) -> None:
    configuration = tmp_path / "mypy.ini"
    configuration.write_text("[mypy]\nstrict = true\nwarn_unused_ignores = true\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(configuration),
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    copy = tmp_path / "program.py"
    copy.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([*command, str(copy)], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.release
def test_pyright_finds_the_types_from_outside(tmp_path: Path) -> None:
    copy = tmp_path / "program.py"
    copy.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    settings = {"include": ["program.py"], "typeCheckingMode": "strict", "enableTypeIgnoreComments": True}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    program = npm_folder("pyright", PYRIGHT) / "node_modules" / "pyright" / "index.js"
    done = subprocess.run(
        ["node", str(program), "--pythonpath", sys.executable, "--project", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
