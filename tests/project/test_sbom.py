"""The list of components of a release: a valid CycloneDX file that holds what is locked, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.support.downloads import run_or_skip
from tests.support.owners import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"


@pytest.mark.release
def test_the_list_of_components_is_the_lock_file() -> None:
    run_or_skip("the tools of a release", ["make", "--silent", "release-setup"], REPOSITORY)
    made = subprocess.run(["make", "--silent", "sbom"], cwd=REPOSITORY, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    listed = json.loads((REPOSITORY / "dist/sbom/pgembedd.cdx.json").read_text(encoding="utf-8"))
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))

    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert listed["metadata"]["component"]["name"] == "pgembedd"
    assert {each["name"]: each["version"] for each in listed["components"]} == locked
    assert all(each["purl"].startswith("pkg:pypi/") for each in listed["components"])
    assert all(each["externalReferences"][0]["hashes"] for each in listed["components"])
