"""The Helm chart: what it makes by default is deploy/kubernetes.yaml, and what else it makes of its values."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pgembedd.settings import HttpSettings, Settings
from tests.project.chart import objects, plain, rendered
from tests.project.deploy import ALERTS, CHART, KUBERNETES, ROOT, STOP_S, instructions, run_tool, tool

ALL = (
    "--set=searches=true,http.replicas=2,autoscaling.enabled=true,podDisruptionBudget.enabled=true",
    "--set=podMonitor.enabled=true,podMonitor.labels.release=prometheus",
    '--set-json=settings={"PGEMBEDD_PRECISION":"int8","PGEMBEDD_GRACE_S":120.5,"PGEMBEDD_HTTP_MAX_INPUTS":1000000}',
    "--set=settings.PGEMBEDD_PROVIDERS_FILE=/run/secrets/pgembedd/providers.toml,files={providers.toml}",
    "--set=cacheClaim=models",
    f"--set=image.digest=sha256:{'0' * 64},image.pullSecrets[0].name=registry",
    "--set=networkPolicy.egress[0].ports[0].port=443",
)


@pytest.mark.slow
def test_helm_accepts_it() -> None:
    outcome = run_tool(*tool("helm"), "lint", "--strict", str(CHART), *ALL)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.slow
def test_the_manifest_is_what_it_makes_by_default() -> None:
    assert KUBERNETES.read_text(encoding="utf-8") == plain()


def test_it_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.slow
def test_what_it_makes_of_all_values() -> None:
    made = objects(rendered(*ALL, release="search"))

    assert [name for _, name in made if not name.startswith("search-pgembedd")] == []
    worker, http = made["Deployment", "search-pgembedd-worker"], made["Deployment", "search-pgembedd-http"]
    assert ("replicas" in worker["spec"], http["spec"]["replicas"]) == (False, 2)
    assert made["Service", "search-pgembedd-http"]["spec"]["selector"] == http["spec"]["selector"]["matchLabels"]
    scaled = made["ScaledObject", "search-pgembedd-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert scaled["triggers"][0]["metadata"]["query"] == "select pgembedd.demand()"
    (budget,) = (each for (kind, _), each in made.items() if kind == "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == http["spec"]["selector"]["matchLabels"]
    for deployment in (worker, http):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].endswith(f"@sha256:{'0' * 64}")
        assert pod["terminationGracePeriodSeconds"] > STOP_S - Settings().grace_s + 120.5
        assert {"name": "PGEMBEDD_HTTP_MAX_INPUTS", "value": "1000000"} in container["env"]
        assert container["ports"] == [{"name": "http", "containerPort": HttpSettings().http_port}]
        files = {f"/run/secrets/pgembedd/{item['path']}" for item in _secret(pod)["items"]}
        assert files == {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
        assert {"name": "cache", "persistentVolumeClaim": {"claimName": "models"}} in pod["volumes"]


@pytest.mark.slow
def test_prometheus_calls_the_job_as_the_alerts_do() -> None:
    made = objects(rendered(*ALL))
    monitor, worker = made["PodMonitor", "pgembedd"], made["Deployment", "pgembedd-worker"]
    job = worker["spec"]["template"]["metadata"]["labels"][monitor["spec"]["jobLabel"]]

    assert set(re.findall(r'job="(\w+)"', ALERTS.read_text(encoding="utf-8"))) == {job}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.slow
def test_what_pods_may_read_and_where_they_write() -> None:
    cache = dict(each.split("=", 1) for name, rest in instructions() if name == "ENV" for each in rest.split())
    made = objects(rendered())
    pod = made["Deployment", "pgembedd-worker"]["spec"]["template"]["spec"]
    (copying,), (container,) = pod["initContainers"], pod["containers"]
    writable = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}

    assert pod["terminationGracePeriodSeconds"] > STOP_S
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]  # who may read what is 0440
    assert _secret(pod)["defaultMode"] == 0o440
    assert _secret(made["Job", "pgembedd-migrate"]["spec"]["template"]["spec"])["defaultMode"] == 0o440
    assert writable == {"/tmp", str(Path(cache["PGEMBEDD_CACHE_DIR"]).parent)}
    assert copying["command"][-2:] == [cache["PGEMBEDD_CACHE_DIR"], "/cache"]
    assert {"name": "cache", "mountPath": "/cache"} in copying["volumeMounts"]
    assert cache["HF_HOME"].startswith(cache["PGEMBEDD_CACHE_DIR"])


@pytest.mark.slow
def test_the_migration_runs_before_each_version() -> None:
    job = objects(rendered())["Job", "pgembedd-migrate"]

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert [kind for kind, _ in objects(rendered("--set=migrate.enabled=false"))] == [
        "NetworkPolicy",
        "Service",
        "Deployment",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("value", ["workers.replicas=2", "worker.replicas=-1", "settings.precision=int8"])
def test_a_value_that_it_does_not_know_is_refused(value: str) -> None:
    outcome = run_tool(*tool("helm"), "template", "pgembedd", str(CHART), "--set", value)

    assert outcome.returncode != 0
    assert re.search(r"workers|replicas|precision", outcome.stderr), outcome.stderr


def _secret(pod: dict[str, Any]) -> Any:
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    return secret
