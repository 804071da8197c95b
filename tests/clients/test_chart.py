"""What the Helm chart makes is what Kubernetes and KEDA take."""

import subprocess
from pathlib import Path

import pytest

from tests.project.chart import rendered
from tests.project.test_chart import ALL
from tests.support.clients import environment_of

pytestmark = pytest.mark.clients

CHECK = Path(__file__).with_name("check_manifest.py")
KINDS = ["Deployment", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"]
KINDS += ["ScaledObject", "Service", "TriggerAuthentication"]


@pytest.mark.parametrize("version", ["1.25", "1.36"])  # the oldest that the chart is for, and a late one
def test_the_objects_have_the_fields_of_their_schemas(tmp_path: Path, version: str) -> None:
    manifest = tmp_path / "manifest.yaml"
    kinds = check(manifest, rendered(*ALL), version)
    assert sorted(kinds.stdout.split()) == KINDS, kinds.stderr


def test_a_field_that_is_none_is_seen(tmp_path: Path) -> None:
    wrong = rendered().replace("readOnlyRootFilesystem", "readOnlyFilesystem")
    assert "readOnlyFilesystem" in check(tmp_path / "manifest.yaml", wrong, "1.25").stderr


def check(manifest: Path, text: str, version: str) -> subprocess.CompletedProcess[str]:
    manifest.write_text(text, encoding="utf-8")
    command = ["python", str(CHECK), str(manifest), version]
    return subprocess.run(command, env=environment_of(manifest.parent), capture_output=True, text=True, check=False)
