"""The image of the Dockerfile: built, and run as an ordinary user over a file system that it cannot write."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from tests.project.chart import objects
from tests.project.deploy import KUBERNETES
from tests.support.containers import BASE, Engine, InstalledEngine
from tests.support.databases import Database
from tests.support.documents import await_quiet, insert, make_documents, missing
from tests.support.owners import REPOSITORY
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.release
MODEL = os.environ.get("PGEMBEDD_TEST_IMAGE_MODEL") or "all-MiniLM-L6-v2"
# What a careful administrator takes from a container.
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")
MOST_MB = 380  # of the program and what it needs, without the base image and the model


@dataclass(frozen=True)
class Image:
    """The image with a model inside."""

    engine: InstalledEngine
    identifier: str

    def command(self, *arguments: str, network: str = "host", **environment: str) -> list[str]:
        """Returns the arguments of Podman that run a command of the image."""
        given = [part for name, text in environment.items() for part in ("--env", f"{name}={text}")]
        return ["run", "--rm", "--network", network, *CONFINED, *given, self.identifier, *arguments]

    def run(self, *arguments: str, network: str = "host", **environment: str) -> str:
        """Runs a command of the image, which has to succeed; returns what it prints."""
        done = self.engine.run(*self.command(*arguments, network=network, **environment))
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, with that model inside: that of PGEMBEDD_TEST_IMAGE, else built here. May skip the test."""
    if name := os.environ.get("PGEMBEDD_TEST_IMAGE"):
        yield Image(InstalledEngine(os.environ.get("PGEMBEDD_TEST_ENGINE", "docker")), name)
        return
    shared = tmp_path_factory.mktemp("shared")
    context = shared / "context"
    context.mkdir()
    files = subprocess.run(
        ["tar", "-c", "-C", str(REPOSITORY), "--exclude=__pycache__", *copied()], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(context)], input=files, check=True)
    engine = Engine(shared)
    try:
        engine.add_base()
        yield Image(engine, engine.build(context, "--build-arg", f"BASE={BASE}", "--build-arg", f"MODEL={MODEL}"))
    finally:
        engine.close()


def copied() -> list[str]:
    """Returns what the build takes of the checkout: the Dockerfile and what .dockerignore lets through."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return ["Dockerfile", ".dockerignore", *(line[1:] for line in lines if line.startswith("!"))]


def test_image_migrates_embeds_answers_its_probe_and_drains(image: Image, empty_database: Database) -> None:
    url = empty_database.conninfo
    image.run("migrate", DATABASE_URL=url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = image.command("run", DATABASE_URL=url, PGEMBEDD_HTTP_PORT=port)
    with empty_database.connect() as connection:
        make_documents(connection, model=MODEL)
        insert(connection, range(40))
        with subprocess.Popen(image.engine.command(*command), stderr=subprocess.PIPE, text=True) as worker:
            try:
                await_quiet(connection)
                image.run("health", "--probe", "live", PGEMBEDD_HTTP_PORT=port)
                worker.terminate()
                _, log = worker.communicate(timeout=PATIENCE_S)
            finally:
                worker.kill()
        assert missing(connection) == []
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert worker.returncode == 0, log
    assert [event["drained"] for event in events if event["event"] == "worker_stopped"] == [True]


def test_image_holds_the_model_and_needs_no_network_for_it(image: Image) -> None:
    assert MODEL in image.run("model", "pull", MODEL, network="none")


def test_a_pod_starts_with_the_models_of_the_image(image: Image) -> None:
    pod = objects(KUBERNETES.read_text(encoding="utf-8"))["Deployment", "pgembedd-worker"]["spec"]["template"]["spec"]
    program, *arguments = pod["initContainers"][0]["command"]
    command = ["run", "--rm", "--network", "none", *CONFINED, "--tmpfs", "/cache", "--entrypoint", program]
    done = image.engine.run(*command, image.identifier, *arguments)

    assert (done.returncode, done.stderr) == (0, "")


def test_image_is_that_of_this_version_and_no_larger_than_it_has_to_be(image: Image) -> None:
    assert version("pgembedd") in image.run("--version", network="none")
    size = ["run", "--rm", "--network", "none", "--entrypoint", "du", image.identifier, "-sm", "/opt/pgembedd"]
    found = image.engine.run(*size)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split()[0]) <= MOST_MB, found.stdout
