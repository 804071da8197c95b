"""The systemd unit and the Kubernetes manifest agree with the program, and with the tools that read them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pgembedd import errors
from pgembedd.cli.health import PATHS
from pgembedd.settings import HttpSettings
from tests.project.deploy import KUBERNETES, ROOT, STOP_S, UNIT, instructions, run_tool, seconds, tool

# -- systemd -----------------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """The unit's settings; a name may come several times."""
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            settings.setdefault(match[1], []).append(match[2])
    return settings


def test_unit_stops_restarting_for_what_a_restart_cannot_mend() -> None:
    (prevented,) = unit()["RestartPreventExitStatus"]
    kinds = (errors.ConfigurationError, errors.DatabaseUnavailableError, errors.SchemaError, errors.ModelError)

    assert unit()["Restart"] == ["on-failure"]
    assert {kind for kind in kinds if str(kind.exit_code) in prevented.split()} == {errors.ConfigurationError}


def test_unit_leaves_time_to_drain_and_watches_longer_than_that() -> None:
    settings = unit()

    assert settings["Type"] == ["notify"]
    assert seconds(settings["TimeoutStopSec"][0]) > STOP_S
    assert seconds(settings["WatchdogSec"][0]) > STOP_S  # a drain sends no WATCHDOG=1


def test_unit_hands_over_the_credential_it_loads() -> None:
    (credential,) = unit()["LoadCredential"]
    name, _, path = credential.partition(":")

    assert f"DATABASE_URL_FILE=%d/{name}" in unit()["Environment"]
    assert path.startswith("/etc/pgembedd/")


@pytest.mark.slow
def test_unit_is_accepted_by_systemd(tmp_path: Path) -> None:
    copy = tmp_path / "pgembedd.service"
    text = UNIT.read_text(encoding="utf-8")
    # The program is not installed where the unit expects it, and another one has to be there.
    copy.write_text(text.replace("/opt/pgembedd/bin/pgembedd", "/bin/true"), encoding="utf-8")
    outcome = run_tool(*tool("systemd-analyze"), "verify", "--man=no", str(copy), SYSTEMD_LOG_LEVEL="warning")

    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_unit_names_a_program_that_the_package_installs() -> None:
    (start,) = unit()["ExecStart"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert Path(start.split()[0]).name in project["scripts"]


# -- Kubernetes --------------------------------------------------------------------------------------------


def pods(*kinds: str) -> list[dict[str, Any]]:
    """The pod of every workload, or of those of these kinds."""
    return [document["spec"]["template"]["spec"] for document in manifest(*(kinds or ("Job", "Deployment")))]


def manifest(*kinds: str) -> list[dict[str, Any]]:
    """The objects of these kinds."""
    documents = yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))
    return [document for document in documents if document["kind"] in kinds]


def test_pods_run_as_the_user_of_the_image_with_nothing_to_spare() -> None:
    user = dict(instructions())["USER"]
    for pod in pods():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "limits" in container["resources"]


def test_pods_take_the_database_from_a_secret() -> None:
    for pod in pods():
        (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        (container,) = pod["containers"]
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "credentials"]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        assert variables["DATABASE_URL_FILE"] == f"{mount['mountPath']}/{secret['items'][0]['path']}"


def test_the_network_policy_is_about_every_pod_and_the_port_of_the_service() -> None:
    (policy,) = manifest("NetworkPolicy")
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(
        selected <= document["spec"]["template"]["metadata"]["labels"].items()
        for document in manifest("Job", "Deployment")
    )
    assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [
        [{"protocol": "TCP", "port": HttpSettings().http_port}]
    ]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_probes_are_paths_and_a_port_of_the_service() -> None:
    (workers,) = pods("Deployment")
    (container,) = workers["containers"]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert [probe["path"] for probe in probes.values()] == [PATHS["startup"], PATHS["live"], PATHS["ready"]]
    assert container["ports"] == [{"name": "http", "containerPort": HttpSettings().http_port}]
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert workers["enableServiceLinks"] is False  # a Service's own variables are called like our settings


def test_workers_get_longer_than_the_grace_period_and_the_image_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    (workers,) = pods("Deployment")

    assert workers["terminationGracePeriodSeconds"] > STOP_S
    assert {pod["containers"][0]["image"] for pod in pods()} == {f"pgembedd:{version}"}
