"""The workflows of CI and of a release: what they run is in the Makefile, and they may do no more than they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pgembedd.model.specs import DEFAULT_MODEL
from tests.project.release import NOT_RUN, objections
from tests.support.downloads import run_or_skip
from tests.support.owners import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What publishes, and by which rights; every other job reads the repository.
RIGHTS = {
    "index": {"contents": "read", "id-token": "write"},
    "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow in WORKFLOWS.values():
        yield from workflow["jobs"].items()


def steps() -> list[dict[str, Any]]:
    return [step for _, job in jobs() for step in job.get("steps", [])]


def test_every_command_is_a_target_of_the_makefile() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    commands = [step["run"] for step in steps() if "run" in step]

    assert len(commands) > 15
    assert [run for run in commands if not re.fullmatch(r"make [a-z-]+( [A-Z]+=[\w.-]+)*", run)] == []
    assert {run.split()[1] for run in commands} <= targets


def test_every_target_is_phony() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    assert phony is not None
    assert set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)) == set(phony[1].split())


def test_every_action_is_pinned_to_a_commit() -> None:
    pinned = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    lines = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml")).splitlines()
    used = [line.partition("uses: ")[2] for line in lines if "uses: " in line]

    assert [each for each in used if not pinned.fullmatch(each) and not each.startswith("./.github/")] == []


def test_a_job_has_the_rights_that_it_needs() -> None:
    assert [name for name, one in WORKFLOWS.items() if one["permissions"] != {"contents": "read"}] == []
    assert {name: job["permissions"] for name, job in jobs() if "permissions" in job} == RIGHTS
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_secret_is_stored_or_reaches_a_command() -> None:
    for path in FOLDER.glob("*.yml"):
        assert "secrets." not in path.read_text(encoding="utf-8"), path.name
    for step in steps():
        if "run" in step:
            assert "github.token" not in str(step), step
            assert "${{" not in step["run"], step


def test_nothing_is_published_before_all_is_tested() -> None:
    release = WORKFLOWS["release"]["jobs"]
    runs = [step.get("run") for step in release["check"]["steps"]]
    order = [step.get("run", step.get("uses", "")).split("@")[0] for step in release["image"]["steps"]]

    assert {"make check-tag", "make test-default-model"} <= set(runs)
    assert release["index"]["needs"] == ["wheel", "image"]
    assert (release["wheel"]["needs"], release["image"]["needs"]) == (["check", "test"], ["check", "test", "wheel"])
    assert release["test"]["uses"] == "./.github/workflows/ci.yml"
    assert order.index("make test-image TESTED=tested") < order.index("docker/login-action")


def test_a_release_has_an_image_without_a_model_and_one_with_the_default_model_that_is_tested_as_it_is() -> None:
    job = WORKFLOWS["release"]["jobs"]["image"]
    plain, ready = job["strategy"]["matrix"]["include"]
    given = [step["env"]["MODEL"] for step in job["steps"] if "MODEL" in step.get("env", {})]

    assert (plain["suffix"], plain["model"]) == ("", "")
    assert (ready["suffix"], ready["model"], ready["tested"]) == (f"-{DEFAULT_MODEL}", DEFAULT_MODEL, DEFAULT_MODEL)
    assert given == ["${{ matrix.tested }}", "${{ matrix.tested }}", "${{ matrix.model }}"]
    assert job["env"]["SUFFIX"] == "${{ matrix.suffix }}"


def test_a_release_needs_its_tag_a_date_and_the_default_model(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md", "docs/how-to/operations.md", "docs/reference/models.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.0.0"\n', encoding="utf-8")
    models = tmp_path / "docs/reference/models.md"
    models.write_text(f"# Models\n\n{NOT_RUN} gte-small\n", encoding="utf-8")
    assert len(list(objections("v7.0.1", tmp_path))) == 4

    (tmp_path / "docs/how-to/operations.md").write_text("verify oci://ghcr.io/OWNER/pgembedd:7.0.0\n", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## [7.0.0] - 2031-01-31\n", encoding="utf-8")
    models.write_text("# Models\n", encoding="utf-8")
    assert list(objections("v7.0.0", tmp_path)) == []


def test_the_documents_say_in_one_place_that_the_default_model_has_not_run() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    saying = [path.name for path in pages if NOT_RUN in path.read_text(encoding="utf-8")]
    assert saying in ([], ["models.md"])


def test_an_image_for_a_release_is_made_from_a_digest() -> None:
    command = ["make", "--silent", "image-pinned", "ENGINE=echo"]
    refused = subprocess.run([*command, "BASE=python:3.13"], cwd=REPOSITORY, capture_output=True, text=True)
    made = subprocess.run([*command, "BASE=python@sha256:0"], cwd=REPOSITORY, capture_output=True, text=True)

    assert (refused.returncode != 0, refused.stderr.count("make pin-base")) == (True, 1)
    assert made.stdout == "build -t pgembedd --build-arg BASE=python@sha256:0 .\n"


def test_an_image_of_a_release_has_the_name_that_the_documents_give_and_knows_its_repository() -> None:
    given = {"REGISTRY": "ghcr.io/OWNER/pgembedd", "SUFFIX": "", "PGEMBEDD_REPOSITORY_URL": "https://example.org/x"}
    tag = {"GITHUB_REF_NAME": f"v{PROJECT['version']}"}
    command = ["make", "--silent", "image", "ENGINE=echo"]
    made = subprocess.run(command, cwd=REPOSITORY, env=os.environ | given | tag, capture_output=True, text=True)
    name = f"{given['REGISTRY']}:{PROJECT['version']}"

    assert made.stdout == f"build -t {name} --build-arg PGEMBEDD_REPOSITORY_URL=https://example.org/x .\n"
    assert f"oci://{name} " in (REPOSITORY / "docs/how-to/operations.md").read_text(encoding="utf-8")
    assert given.keys() - {"PGEMBEDD_REPOSITORY_URL"} <= WORKFLOWS["release"]["jobs"]["image"]["env"].keys()
    assert "PGEMBEDD_REPOSITORY_URL" in WORKFLOWS["release"]["env"]


def test_a_job_has_what_keeps_its_tests_from_being_skipped() -> None:
    with_history = {"make ci", "make test-release"}  # the last release is built from it
    for name, job in WORKFLOWS["ci"]["jobs"].items():
        runs = {step.get("run") for step in job["steps"]}
        (checkout,) = (step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout"))
        assert (checkout["with"].get("fetch-depth") == 0) == bool(runs & with_history), name
        assert ("container" in job) == ("make test-postgres" in runs), name  # root, and Debian's packages


def test_an_environment_whose_python_is_gone_is_removed(tmp_path: Path) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(tmp_path / "gone")
    (programs / "pgembedd").write_text(f"#!{programs / 'python'}\n", encoding="utf-8")
    (programs / "pgembedd").chmod(0o755)
    command = ["make", "--silent", "-f", str(REPOSITORY / "Makefile"), "-C", str(tmp_path), "clean"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])


@pytest.mark.release
def test_a_linter_of_workflows_has_no_objection() -> None:
    run_or_skip("the tools of a release", ["make", "--silent", "release-setup"], REPOSITORY)
    done = subprocess.run(["make", "--silent", "check-workflows"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
