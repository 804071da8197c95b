"""Fetching from the Hub, with its real client against a stand-in on the loopback (tests/support/servers/hub.py).

Each case runs in a separate process, because the client reads its environment when it is imported.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgembedd.model import Session
from pgembedd.model.files.hub import HubFetcher
from pgembedd.model.files.sources import silent
from pgembedd.model.model_spec import HubSource
from pgembedd.model.specs import GTE_SMALL
from tests.support.servers.hub import HubStandIn, hub_stand_in

REVISION = "0123456789abcdef0123456789abcdef01234567"

SCRIPT = """
import os
import sys
from dataclasses import replace
from pathlib import Path
from tests.support.tiny_models import pinned_spec
from pgembedd.errors import PgembeddError
from pgembedd.model import REGISTRY, Session, default_model
from pgembedd.model.files import hub
from pgembedd.model.model_spec import FolderSource, HubSource

folder, cache, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
hub._ANSWER_TIMEOUT_S = float(os.environ.get("ANSWER_S", "60"))
source = HubSource("someone/tiny", "REVISION")
REGISTRY["tiny-hub"] = replace(pinned_spec(folder, "tiny-hub", source), stand_in="tiny-folder")
REGISTRY["tiny-folder"] = pinned_spec(folder, "tiny-folder", FolderSource(folder))
try:
    if what == "default":
        for _ in range(2):
            print(*default_model("tiny-hub", cache_dir=cache, notify=print))
    else:
        with Session("tiny-hub", cache_dir=cache, offline=what == "offline", notify=print) as session:
            print("vector", session.run("fox")[0])
except PgembeddError as error:
    print(type(error).__name__, error)
""".replace("REVISION", REVISION)


@dataclass
class Machine:
    """A machine with its Hub cache and its graph cache."""

    folder: Path
    root: Path

    def ask(self, endpoint: str, what: str = "session", **environment: str) -> str:
        """What the script prints. Its standard error must stay empty: the client's own noise is not ours."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        mine |= {"HF_HOME": str(self.root / "hf home"), "HF_ENDPOINT": endpoint, **environment}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(self.folder), str(self.root / "cache"), what],
            env=mine,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @property
    def snapshot(self) -> Path:
        """Where the client puts this repository's files."""
        return self.root / "hf home" / "hub" / "models--someone--tiny" / "snapshots" / REVISION


@pytest.fixture
def machine(tiny_folder: Path, tmp_path: Path) -> Machine:
    return Machine(tiny_folder, tmp_path)


@pytest.fixture
def closed_port() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def fetched(hub: HubStandIn) -> list[str]:
    """The files that were downloaded; the client asks for other things, too."""
    return sorted(re.sub(r".*/", "", each) for each in hub.requests if each.startswith("GET") and "/resolve/" in each)


def heard(silent: socket.socket) -> list[bytes]:
    """The first lines of all requests that were made to a server that never answers."""
    lines = []
    silent.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = silent.accept()
            with connection:
                lines.append(connection.recv(1000).splitlines()[0])
    return lines


@pytest.mark.slow
def test_files_come_into_the_clients_cache_once(machine: Machine, closed_port: str) -> None:
    with hub_stand_in(machine.folder, REVISION) as hub:
        first = machine.ask(hub.url)
        assert "Fetching model.safetensors of tiny-hub" in first
        assert fetched(hub) == ["config.json", "model.safetensors", "tokenizer.json"]
        assert sorted(path.name for path in machine.snapshot.iterdir()) == fetched(hub)
    again = machine.ask(closed_port)
    assert again == first.splitlines()[-1] + "\n"
    assert machine.ask(closed_port, "offline") == again


@pytest.mark.slow
def test_a_damaged_file_is_fetched_again(machine: Machine) -> None:
    with hub_stand_in(machine.folder, REVISION) as hub:
        first = machine.ask(hub.url)
        (machine.snapshot / "tokenizer.json").resolve().write_text("{}")
        hub.requests.clear()
        assert machine.ask(hub.url).splitlines()[-1] == first.splitlines()[-1]
        assert fetched(hub) == ["tokenizer.json"]


@pytest.mark.slow
def test_a_file_that_is_not_the_pinned_one_is_not_loaded(machine: Machine, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    for path in machine.folder.iterdir():
        (served / path.name).write_bytes(path.read_bytes().replace(b"gelu", b"relu"))
    with hub_stand_in(served, REVISION) as hub:
        answer = machine.ask(hub.url)
    assert "ModelError" in answer
    assert "config.json, just fetched for tiny-hub, is not the file that is pinned" in answer


@pytest.mark.slow
def test_an_unreachable_hub_is_one_sentence(machine: Machine, closed_port: str) -> None:
    answer = machine.ask(closed_port)
    assert answer.startswith("ModelUnavailableError tiny-hub could not be fetched from the Hugging Face Hub (")
    assert len(answer.splitlines()) == 1


@pytest.mark.slow
def test_a_silent_hub_is_given_up_and_not_asked_twice(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = machine.ask(f"http://127.0.0.1:{silent.getsockname()[1]}", "default", ANSWER_S="0.5")
        assert [line.split()[0] for line in heard(silent) if b"/resolve/" in line] == [b"HEAD"]
    assert answer.count("tiny-folder stands in for tiny-hub here: tiny-hub could not be fetched") == 2


@pytest.mark.slow
def test_a_repository_that_is_gone_is_one_sentence(machine: Machine) -> None:
    with hub_stand_in(machine.folder, "another revision") as hub:
        assert "ModelUnavailableError tiny-hub could not be fetched" in machine.ask(hub.url)


@pytest.mark.parametrize(
    ("what", "environment"), [("offline", {}), ("session", {"HF_HUB_OFFLINE": "1"})], ids=["flag", "variable"]
)
def test_offline_asks_no_server(machine: Machine, what: str, environment: dict[str, str]) -> None:
    with hub_stand_in(machine.folder, REVISION) as hub:
        assert machine.ask(hub.url, what, **environment).startswith("ModelUnavailableError")
        assert hub.requests == []


@pytest.mark.slow
def test_the_preferred_model_needs_no_stand_in(machine: Machine) -> None:
    with hub_stand_in(machine.folder, REVISION) as hub:
        assert machine.ask(hub.url, "default").splitlines()[-2:] == ["tiny-hub None"] * 2


def test_where_gte_small_would_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client's own function and ours must agree on the layout of its cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    assert isinstance(GTE_SMALL.source, HubSource)
    repository, revision = GTE_SMALL.source.repository, GTE_SMALL.source.revision
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = GTE_SMALL.file("config.json")
    path = tmp_path / "models--thenlper--gte-small" / "snapshots" / revision / file.name
    path.parent.mkdir(parents=True)
    path.touch()
    assert HubFetcher(GTE_SMALL, GTE_SMALL.source, silent).path(file) == path
    assert try_to_load_from_cache(repository, file.name, tmp_path, revision) == str(path)


def test_gte_small_itself_where_its_weights_are() -> None:
    """Known outputs of the default model; skipped where the Hub was never within reach."""
    from pgembedd.errors import ModelUnavailableError
    from pgembedd.model import verify

    try:
        session = Session("gte-small", offline=True)
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    with session:
        assert [check for check in verify(session) if not check.ok] == []
