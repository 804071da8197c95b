"""The image and the compose file agree with the program, and with the tools that read them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from pgembedd import settings
from pgembedd.settings.conninfo import LIBPQ_VARIABLES
from tests.project.deploy import COMPOSE, DOCKERFILE, FILES, ROOT, STOP_S, instructions, run_tool, seconds, tool

CONFIGURATION = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "how-to" / "operations.md").read_text(encoding="utf-8")

# -- Compose -----------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


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


def given(service: str) -> dict[str, Any]:
    """The variables of a service: a value, or None for that of .env or the shell."""
    variables: dict[str, Any] = compose()["services"][service]["environment"]
    return variables


@pytest.mark.parametrize("service", ["migrate", "worker", "http"])
def test_every_documented_setting_reaches_the_containers(service: str) -> None:
    names = r"`(DATABASE_LISTEN_\w+|OTEL_\w+|HF_HUB_OFFLINE|HUGGING_FACE_\w+|AI_INFERENCE_API_HOST)`"
    others = re.findall(names, CONFIGURATION)
    documented = {*settings.variables(), *others}
    own = {"PGEMBEDD_HTTP_HOST", "PGEMBEDD_HTTP_PORT"}  # the container's
    passed = given(service)

    assert {name for name, value in passed.items() if value is None} == documented - own
    assert {name for name in passed if passed[name] is not None} - own <= {*LIBPQ_VARIABLES, "PGPASSWORD"}


def test_every_variable_of_the_compose_file_is_documented() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)", text))
    header = text.partition("x-database")[0]

    assert used == {"POSTGRES_PASSWORD", "PGEMBEDD_PORT", "MODEL"}
    assert [name for name in used if name not in header or f"`{name}" not in OPERATIONS] == []


@pytest.mark.slow
def test_compose_file_is_accepted_by_compose() -> None:
    outcome = run_tool(*tool("docker-compose"), "config", "--quiet", POSTGRES_PASSWORD="x")

    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.slow
def test_compose_says_what_is_missing_without_a_password(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    outcome = run_tool(*tool("docker-compose"), "--env-file", str(empty), "config", "--quiet")

    assert outcome.returncode != 0
    assert "set it in a file .env" in outcome.stderr


# -- The image ---------------------------------------------------------------------------------------------


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
    needed = {"pyproject.toml", "hatch_build.py", "README.md", *project["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"]}

    assert needed <= copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_the_wheel_of_the_image_is_built_with_the_address_of_the_repository() -> None:
    order = [f"{name} {rest}" for name, rest in instructions()]
    (wheel,) = (number for number, line in enumerate(order) if "pip wheel" in line)

    assert order[wheel - 1] == "ARG PGEMBEDD_REPOSITORY_URL="


def test_docker_ignores_everything_that_the_image_does_not_need() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied()


@pytest.mark.slow
def test_dockerfile_is_accepted_by_hadolint() -> None:
    outcome = run_tool(*tool("hadolint"), str(DOCKERFILE))

    assert outcome.returncode == 0, outcome.stdout


# -- All of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_of_ours_is_one_the_program_reads(path: Path) -> None:
    # The last two are compose's own and the build's.
    known = {*settings.variables(), "PGEMBEDD_CACHE_DIR", "PGEMBEDD_HTTP", "PGEMBEDD_PORT", "PGEMBEDD_REPOSITORY_URL"}
    used = set(re.findall(r"\bPGEMBEDD_[A-Z_]+\b", path.read_text(encoding="utf-8")))

    assert used <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_one_of_the_program(path: Path) -> None:
    from pgembedd.cli import COMMANDS

    text = path.read_text(encoding="utf-8")
    given = re.findall(r'(?:command|args): \["(\w+)"|bin/pgembedd (\w+)|^CMD \["(\w+)"|"pgembedd", "(\w+)"', text, re.M)
    names = {name for groups in given for name in groups if name}

    assert names
    assert names <= set(COMMANDS)
