"""Documents available on any machine: the docstrings of Python's own standard library.

Read with `ast`, never imported: importing all of it would open browsers and windows.
"""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Tests, vendored tools, thousands of near-equal widget methods, tables of characters.
LEFT_OUT = {
    "test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "encodings", "site-packages", "distutils",
    "pydoc_data", "tkinter", "turtle", "__phello__",
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """One documented thing: its `module`, its full `name` (module included), its signature and docstring."""

    module: str
    name: str
    text: str


def standard_library() -> list[Document]:
    """Returns every public module, class, function and method of this Python with a docstring, in a fixed order."""
    found: dict[str, Document] = {}
    for module, path in _modules(Path(sysconfig.get_path("stdlib"))):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, not Python
        for document in _documents(module, tree):
            found.setdefault(document.name, document)
    return list(found.values())


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(_files(root)):
        parts = path.relative_to(root).with_suffix("").parts
        private = any(part.startswith("_") and part != "__init__" for part in parts)
        if not private and parts[0] in sys.stdlib_module_names and not LEFT_OUT.intersection(parts):
            yield ".".join(part for part in parts if part != "__init__"), path


def _files(root: Path) -> Iterator[Path]:
    """Yields the Python files below `root`, without reading the folders that are left out: site-packages is large."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def _documents(module: str, tree: ast.Module) -> Iterator[Document]:
    if text := ast.get_docstring(tree):
        yield Document(module, module, text)
    yield from _members(module, tree, "")


def _members(module: str, parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Document]:
    for node in parent.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        name = prefix + node.name
        text = ast.get_docstring(node)
        # A public class without a docstring still says what it is by its signature and its methods' names.
        if text or (isinstance(node, ast.ClassDef) and not prefix):
            yield Document(module, f"{module}.{name}", f"{_signature(node)}\n\n{text or ''}".strip())
        if isinstance(node, ast.ClassDef):
            yield from _members(module, node, name + ".")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    if not isinstance(node, ast.ClassDef):
        return f"{node.name}({ast.unparse(node.args)})"
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    init = [f"({ast.unparse(part.args)})" for part in functions if part.name == "__init__"]
    methods = ", ".join(dict.fromkeys(part.name for part in functions if not part.name.startswith("_")))
    return f"class {node.name}{init[0] if init else ''}" + (f" with {methods}" if methods else "")
