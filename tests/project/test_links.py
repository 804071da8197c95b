"""Links in the documents lead somewhere, and no file names a registry or a path of one machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """The anchors of a document."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        aim = (path.parent / target).resolve() if target else path
        assert aim.exists(), link
        assert not anchor or anchor in anchors(aim), link


def test_the_index_lists_every_page_and_each_says_what_it_is_for() -> None:
    docs = ROOT / "docs"
    listed = set(re.findall(r"\]\(([\w./-]+\.md)\)", (docs / "README.md").read_text(encoding="utf-8")))
    pages = [path for group in ("start", "how-to", "reference", "explanation") for path in (docs / group).glob("*.md")]

    assert listed == {str(path.relative_to(docs)) for path in [*pages, *(docs / "decisions").glob("*.md")]}
    for path in pages:
        assert path.read_text(encoding="utf-8").split("\n\n")[1].startswith("This page "), path.name


def test_the_tests_that_are_named_exist() -> None:
    path = ROOT / "docs" / "explanation" / "reliability.md"
    named = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", path.read_text(encoding="utf-8"))

    assert named
    for test, file in named:
        assert f"def {test}(" in (path.parent / file).read_text(encoding="utf-8"), f"{file}: {test}"


@pytest.mark.slow
def test_no_tracked_file_names_a_registry_or_a_path_of_somebodys_machine() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Put together here, so that this file does not name them.
    hosts = "|".join(
        re.escape(".".join(parts)) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))
    )
    paths = "|".join(f"/{folder}/" for folder in ("work", "home", "root", "Users"))
    forbidden = re.compile(rf"{hosts}|(?<![\w.]){paths}")
    guilty = []
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            text = path.read_bytes().decode(errors="replace")
            guilty += [f"{name}: {match[0]}" for match in forbidden.finditer(text)]

    assert guilty == []
