"""Reading the files that run pgembedd as a service, and the tools that check them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pgembedd.loop.worker import LAST_S
from pgembedd.settings import Settings
from pgembedd.telemetry.spans import LAST_S as LAST_TRACES_S

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "deploy" / "pgembedd.service"
KUBERNETES = ROOT / "deploy" / "kubernetes.yaml"
DROP_IN = ROOT / "deploy" / "pgembedd.service.d" / "http.conf"
FILES = (COMPOSE, DOCKERFILE, UNIT, DROP_IN, KUBERNETES)

STOP_S = Settings().grace_s + LAST_S + LAST_TRACES_S  # what a drain takes at most


def run_tool(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a tool; the caller has checked that it is installed."""
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


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]
