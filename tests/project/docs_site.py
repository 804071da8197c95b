"""The documentation as a static site: `python -m tests.project.docs_site` builds it in build/site, with Zensical.

docs/README.md holds the order of the pages: the navigation is made of it. The pages are copied to build/docs, where a
link to a file outside of docs/ becomes one to the repository, or plain text while pyproject.toml names none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BUILD = ROOT / "build"
INDEX = "README.md"
ROW = re.compile(r"^\| \[([^]]+)\]\(([\w./-]+\.md)\) \| (.*) \|$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^]\[]+)\]\(((?:\.\./)+[^)\s]*)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
# What GitHub reads, and no more: other extensions would take `$title` for a formula, or `-->` for an arrow.
EXTENSIONS = {
    "tables": {},
    "toc": {"permalink": True, "slugify": {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}},
    "pymdownx.highlight": {"pygments_lang_class": True},
    "pymdownx.magiclink": {},
    "pymdownx.superfences": {},
}

Navigation = list[dict[str, Any]]


def navigation() -> Navigation:
    """The pages as docs/README.md lists them: its sections, in its order, the decisions inside the last one."""
    sections = re.split(r"^## ", (DOCS / INDEX).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    nav: Navigation = [{"Documentation": INDEX}]
    for section in sections:
        rows = ROW.findall(section)
        decisions = [{f"{title}. {_sentence(text)}": page} for title, page, text in rows if title.isdigit()]
        pages = [{title: page} for title, page, _ in rows if not title.isdigit()]
        nav.append({section.split("\n")[0]: [*pages, *([{"Decisions": decisions}] if decisions else [])]})
    return nav


def _sentence(text: str) -> str:
    plain = text.replace("`", "")
    return plain[0].upper() + plain[1:]


def pages_of(nav: Navigation) -> list[str]:
    """The pages of a navigation, in its order."""
    found = []
    for entry in nav:
        for value in entry.values():
            found += [value] if isinstance(value, str) else pages_of(value)
    return found


def urls() -> dict[str, str]:
    """The addresses that the build is given, as hatch_build.py has them: `Documentation`, the site's, `Repository`."""
    given = {"Documentation": "PGEMBEDD_DOCUMENTATION_URL", "Repository": "PGEMBEDD_REPOSITORY_URL"}
    return {name: url.rstrip("/") for name, variable in given.items() if (url := os.environ.get(variable))}


def as_page(text: str, path: Path, repository: str) -> str:
    """A page's text for Zensical: links out of docs/ lead to the repository, blocks name a language alone."""

    def elsewhere(match: re.Match[str]) -> str:
        target, _, anchor = match[2].partition("#")
        aim = (path.parent / target).resolve()
        if aim.is_relative_to(DOCS):
            return match[0]
        if not repository:
            return match[1]
        url = f"{repository}/blob/main/{aim.relative_to(ROOT)}"
        return f"[{match[1]}]({url}{'#' + anchor if anchor else ''})"

    def block(fence: str) -> str:
        first, *rest = fence.split("\n")
        return "\n".join([first.split(" ")[0], *rest])

    parts = FENCE.split(text)
    return "".join(block(part) if FENCE.fullmatch(part) else LINK.sub(elsewhere, part) for part in parts)


def configuration() -> dict[str, Any]:
    """Zensical's settings: nothing of the site is loaded from elsewhere."""
    schemes = {"default": ("slate", "dark"), "slate": ("default", "light")}
    palette = [
        {
            "scheme": scheme,
            "media": f"(prefers-color-scheme: {'light' if scheme == 'default' else 'dark'})",
            "toggle": {"icon": "lucide/sun" if scheme == "default" else "lucide/moon", "name": f"Switch to {other}"},
        }
        for scheme, (_, other) in schemes.items()
    ]
    features = ["navigation.footer", "navigation.indexes", "navigation.top", "content.code.copy", "search.highlight"]
    return {
        "site_name": "pgembedd",
        "site_description": "The embedding daemon for Postgres",
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": navigation(),
        "markdown_extensions": EXTENSIONS,
        "theme": {"variant": "modern", "font": False, "palette": palette, "features": features},
        **({"site_url": f"{urls()['Documentation']}/"} if "Documentation" in urls() else {}),
    }


def as_toml(settings: dict[str, Any]) -> str:
    """A settings file of TOML: JSON's strings, numbers and lists are TOML's, too."""

    def value(each: Any) -> str:
        if isinstance(each, dict):
            return "{" + ", ".join(f"{json.dumps(name)} = {value(one)}" for name, one in each.items()) + "}"
        if isinstance(each, list):
            return "[" + ", ".join(map(value, each)) + "]"
        return json.dumps(each, ensure_ascii=False)

    return "[project]\n" + "".join(f"{name} = {value(each)}\n" for name, each in settings.items())


def build(folder: Path = BUILD) -> Path:
    """Builds the site into a folder's `site`, and returns that. A broken link ends it."""
    stage(folder)
    return generate(folder)


def stage(folder: Path) -> None:
    """Copies the pages into a folder's `docs`, and writes the settings next to it."""
    staged = folder / "docs"
    shutil.rmtree(staged, ignore_errors=True)
    repository = urls().get("Repository", "")
    for path in sorted(DOCS.rglob("*")):
        copy = staged / path.relative_to(DOCS)
        if path.suffix == ".md":
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(as_page(path.read_text(encoding="utf-8"), path, repository), encoding="utf-8")
        elif path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    (folder / "zensical.toml").write_text(as_toml(configuration()), encoding="utf-8")


def generate(folder: Path) -> Path:
    """Runs Zensical on a folder where the pages are staged."""
    for each in ("site", ".cache"):
        shutil.rmtree(folder / each, ignore_errors=True)
    zensical = Path(sys.executable).with_name("zensical")
    subprocess.run([zensical, "build", "--strict", "--clean"], cwd=folder, check=True)
    return folder / "site"


if __name__ == "__main__":
    print(build())
