"""The files that run pgembedd as a service agree with the program, and with the tools that read them."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from worker import config, errors
from worker.config import Settings
from worker.run import LAST_S

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "deploy" / "pgembedd.service"
KUBERNETES = ROOT / "deploy" / "kubernetes.yaml"
FILES = (COMPOSE, DOCKERFILE, UNIT, KUBERNETES)

STOP_S = Settings().grace_s + LAST_S  # what a drain takes at most


def run_tool(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tool that is there; whoever calls has made sure of that."""
    environment = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"} | variables
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def require(tool: str) -> str:
    """The tool's path, or a skip that names it."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed here")
    return path


def seconds(text: str) -> float:
    """`30`, `30s` or `15min` in seconds."""
    match = re.fullmatch(r"([0-9.]+)(s|min|m)?", text)
    assert match is not None, text
    return float(match[1]) * (60 if match[2] in ("min", "m") else 1)


# -- Compose -----------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def compose_command() -> list[str]:
    """`docker compose`, else the older docker-compose; a skip where there is neither."""
    if shutil.which("docker") and run_tool("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("neither `docker compose` nor docker-compose is installed here")


def test_compose_publishes_on_loopback_alone() -> None:
    services = compose()["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    assert [name for name, service in services.items() if "network_mode" in service or service.get("privileged")] == []


def test_compose_starts_workers_after_the_migration_and_leaves_them_time_to_drain() -> None:
    services = compose()["services"]

    assert services["db"]["healthcheck"]["test"][1] == "pg_isready"
    assert services["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"
    assert services["worker"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert seconds(services["worker"]["stop_grace_period"]) > STOP_S


def test_compose_has_no_password_of_its_own() -> None:
    text = COMPOSE.read_text(encoding="utf-8")

    given = re.findall(r"^\s*\w*PASSWORD: (.+)$", text, re.MULTILINE)
    assert given
    assert all(re.fullmatch(r'"\$\{POSTGRES_PASSWORD:\?[^}]+\}"', value) for value in given)


def test_compose_file_is_accepted_by_compose() -> None:
    outcome = run_tool(*compose_command(), "config", "--quiet", POSTGRES_PASSWORD="x")

    assert outcome.returncode == 0, outcome.stderr


def test_compose_says_what_is_missing_without_a_password(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    outcome = run_tool(*compose_command(), "--env-file", str(empty), "config", "--quiet")

    assert outcome.returncode != 0
    assert "set it in a file .env" in outcome.stderr


# -- The image ---------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def copied() -> set[str]:
    """What the build takes out of the checkout."""
    lists = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    return {source for sources in lists for source in sources}


def test_image_runs_as_an_ordinary_user_and_drains_on_stop() -> None:
    last = dict(instructions())  # the last of each kind, so that of the final stage

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"] == '["pgembedd"]'
    assert "pgembedd" in last["HEALTHCHECK"]


def test_image_installs_hashed_wheels_and_holds_no_tests() -> None:
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    for command in (part for rest in installs for part in rest.split("&&") if "pip install" in part):
        assert "--require-hashes" in command or "--no-index" in command, command

    assert not copied() & {".", "tests", "bench"}


def test_image_gets_all_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"]}

    assert needed <= copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_docker_ignores_everything_that_the_image_does_not_need() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied()


def test_dockerfile_is_accepted_by_hadolint() -> None:
    outcome = run_tool(require("hadolint"), str(DOCKERFILE))

    assert outcome.returncode == 0, outcome.stdout


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


def test_unit_is_accepted_by_systemd(tmp_path: Path) -> None:
    verify = require("systemd-analyze")
    copy = tmp_path / "pgembedd.service"
    text = UNIT.read_text(encoding="utf-8")
    # The program is not installed where the unit expects it, and another one has to be there.
    copy.write_text(text.replace("/opt/pgembedd/bin/pgembedd", "/bin/true"), encoding="utf-8")
    outcome = run_tool(verify, "verify", "--man=no", str(copy), SYSTEMD_LOG_LEVEL="warning")

    assert (outcome.returncode, outcome.stderr) == (0, "")


# -- Kubernetes --------------------------------------------------------------------------------------------


def pods() -> list[dict[str, Any]]:
    """The pod of every workload."""
    documents = yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))
    return [document["spec"]["template"]["spec"] for document in documents]


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


def test_workers_get_longer_than_the_grace_period_and_the_image_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    _, workers = pods()

    assert workers["terminationGracePeriodSeconds"] > STOP_S
    assert {pod["containers"][0]["image"] for pod in pods()} == {f"pgembedd:{version}"}


# -- All of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_of_ours_is_one_the_program_reads(path: Path) -> None:
    known = {*config.variables(), "PGEMBEDD_CACHE_DIR", "PGEMBEDD_PORT"}  # the last is the compose file's own
    used = set(re.findall(r"\bPGEMBEDD_[A-Z_]+\b", path.read_text(encoding="utf-8")))

    assert used <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one_of_the_program(path: Path) -> None:
    from worker.cli import COMMANDS

    text = path.read_text(encoding="utf-8")
    given = re.findall(r'(?:command|args): \["(\w+)"|bin/pgembedd (\w+)|^CMD \["(\w+)"|"pgembedd", "(\w+)"', text, re.M)
    names = {name for groups in given for name in groups if name}

    assert names
    assert names <= set(COMMANDS)


def test_unit_names_a_program_that_the_package_installs() -> None:
    (start,) = unit()["ExecStart"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert Path(start.split()[0]).name in project["scripts"]
