"""Settings, where the database is named, what a log line looks like, and what systemd hears."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pgembedd.cli import eval as eval_
from pgembedd.cli import run, serve, up, verify
from pgembedd.cli.options import http_options
from pgembedd.cli.up import address
from pgembedd.errors import ConfigurationError
from pgembedd.loop.model_loader import loader, parse_precision
from pgembedd.loop.systemd import notify_systemd
from pgembedd.settings import HttpSettings, Settings, unknown_variables, variables
from pgembedd.settings.conninfo import LIBPQ_VARIABLES, conninfo_from_environment, listen_conninfo_from_environment
from tests.support.databases import Database
from tests.support.worker import WorkerProcess

SECRET = "a text of the user's"
LOG_SOMETHING = f"""
import sys
from collections.abc import Callable
from pgembedd.log import configure_logging, get_logger
configure_logging(*sys.argv[1:])
get_logger().debug("quiet")
get_logger().info("stored", rows=3, pipeline="documents")
try:
    text = {SECRET!r}
    raise ValueError("broken")
except ValueError:
    get_logger().error("failed", exc_info=True)
"""


SETTINGS = [*fields(Settings), *fields(HttpSettings)]


@pytest.fixture(autouse=True)
def no_database_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", *LIBPQ_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_a_variable_that_is_no_setting_is_named_with_the_nearest() -> None:
    names = [
        "PATH",
        "PGEMBEDD_LANGUAGE_MODLE",
        "PGEMBEDD_HTTP",
        "PGEMBEDD_LEASE_S",
        "PGEMBEDD_XYZZY_OF_SOMETHING_ELSE_THAT_IS_LONG",
    ]
    assert unknown_variables(names) == [
        ("PGEMBEDD_LANGUAGE_MODLE", ["PGEMBEDD_LANGUAGE_MODE", "PGEMBEDD_LANGUAGE_MODEL"]),
        ("PGEMBEDD_XYZZY_OF_SOMETHING_ELSE_THAT_IS_LONG", []),
    ]


def test_a_process_says_at_its_start_which_variables_are_no_setting(database: Database) -> None:
    with WorkerProcess(database.conninfo, PGEMBEDD_LANGUAGE_MODLE="mistral") as process:
        process.await_event("unknown_setting")
        process.await_event("worker_started")
    (said,) = process.named("unknown_setting")
    assert said["variable"] == "PGEMBEDD_LANGUAGE_MODLE"
    assert "PGEMBEDD_LANGUAGE_MODEL" in said["nearest"]


def test_every_setting_has_a_variable_of_its_own_and_a_sentence() -> None:
    assert len(variables()) == len(SETTINGS)
    for name, help_text in variables().items():
        assert name.startswith("PGEMBEDD_")
        assert help_text.endswith(".")


@pytest.mark.parametrize(
    ("ours", "supabases", "read"),
    [("", "http://there", "http://there"), ("http://here", "http://there", "http://here"), ("", "", "")],
)
def test_supabases_variable_is_read_where_ours_is_not_set(ours: str, supabases: str, read: str) -> None:
    @click.command()
    @http_options("language_host")
    def show(http: HttpSettings) -> None:
        click.echo(http.language_host)

    said = CliRunner().invoke(show, env={"PGEMBEDD_LANGUAGE_HOST": ours, "AI_INFERENCE_API_HOST": supabases})
    assert said.output == f"{read}\n"


def test_the_old_name_of_a_setting_is_named_with_the_new_one() -> None:
    (said,) = unknown_variables(["PGEMBEDD_HTTP_TOKEN_FILE"])
    assert "PGEMBEDD_HTTP_TOKENS_FILE" in said[1]


def test_what_asks_providers_takes_their_settings() -> None:
    for module in (eval_, run, serve, up, verify):
        assert {"providers", "providers_file"} <= {parameter.name for parameter in module.command.params}


def test_defaults_are_allowed() -> None:
    for field in SETTINGS:
        bounds, choices = field.metadata["bounds"], field.metadata["choices"]
        assert (bounds is not None) == isinstance(field.default, int | float)
        if choices:
            assert field.default in choices
        elif bounds:
            least, most = bounds
            assert least <= field.default <= most


def test_no_database_is_none() -> None:
    assert conninfo_from_environment() is None


def test_the_url_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("DATABASE_URL", "postgresql://here/db")
    assert conninfo_from_environment() == "postgresql://here/db"


@pytest.mark.parametrize("name", LIBPQ_VARIABLES)
def test_libpqs_own_variables_will_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "5433")
    assert conninfo_from_environment() == ""


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("DATABASE_URL_FILE", conninfo_from_environment),
        ("DATABASE_LISTEN_URL_FILE", listen_conninfo_from_environment),
    ],
)
def test_a_credential_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, read: Callable[[], object], content: bytes | None
) -> None:
    path = tmp_path / "credential"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(ConfigurationError, match=variable) as caught:
        read()
    assert str(path) in str(caught.value)


def logged(*arguments: str, terminal: bool = False) -> str:
    """What a process that logs something writes to standard error, a terminal or a pipe."""
    command = [sys.executable, "-c", LOG_SOMETHING, *arguments]
    if not terminal:
        return subprocess.run(command, stderr=subprocess.PIPE, check=True, text=True).stderr
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        subprocess.run(command, stderr=theirs, check=True)
        os.close(theirs)
        return _everything(reader.fileno())


def _everything(descriptor: int) -> str:
    """Until the other side has closed, which a terminal reports as an error."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts).decode()


def test_json_where_nobody_is_at_the_terminal() -> None:
    stored, failed = (json.loads(line) for line in logged().splitlines())
    assert {name: stored[name] for name in ("event", "level", "rows", "pipeline")} == {
        "event": "stored",
        "level": "info",
        "rows": 3,
        "pipeline": "documents",
    }
    assert failed["exception"][0]["exc_value"] == "broken"
    assert SECRET not in json.dumps(failed), "a traceback shows no values"


def test_text_on_a_terminal() -> None:
    said = logged(terminal=True)
    assert "stored" in said
    assert not said.startswith("{")
    assert "ValueError: broken" in said


@pytest.mark.slow
def test_either_on_request() -> None:
    assert "rows=3" in logged("text")
    assert json.loads(logged("json", terminal=True).splitlines()[0])["rows"] == 3


@pytest.mark.slow
def test_the_level() -> None:
    assert len(logged("json", "debug").splitlines()) == 3
    assert len(logged("json", "error").splitlines()) == 1


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_a_datagram(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool) -> None:
    monkeypatch.chdir(tmp_path)  # an address has at most 107 bytes
    name = f"pgembedd-{os.getpid()}" if abstract else "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(("\0" if abstract else "") + name)
        channel.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", ("@" if abstract else "") + name)
        notify_systemd("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_systemd("READY=1")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fp32", {"": "fp32"}),
        ("int8", {"": "int8"}),
        ("gte-small=int8", {"": "fp32", "gte-small": "int8"}),
        (" int8 , All-MiniLM-L6-v2 = fp32", {"": "int8", "all-minilm-l6-v2": "fp32"}),
        ("a=b=int8", {"": "fp32", "a=b": "int8"}),
    ],
)
def test_precision_is_of_all_models_or_of_some(setting: str, expected: dict[str, str]) -> None:
    assert parse_precision(setting) == expected


@pytest.mark.parametrize("name", ["gte", "ms-marco-minilm-l12", "openai:text-embedding-3-small"])
def test_the_precision_of_a_model_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    """It would be ignored."""
    setting = f"gte-small=int8,{name}=int8"
    with pytest.raises(ConfigurationError, match=f"names the model '{name}', which is none of .*: gte-small, all-"):
        loader(Settings(precision=setting))
    loader(Settings(precision=setting, model_dir=str(tmp_path)))
    loader(Settings(precision="Supabase/gte-small=int8,All-MiniLM-L6-v2=int8"))


@pytest.mark.parametrize("setting", ["", "fp16", "gte-small", "gte-small=", "int8,"])
def test_an_unknown_precision_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^PGEMBEDD_PRECISION is .* as in gte-small=int8\.$"):
        parse_precision(setting)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 8432, "http://127.0.0.1:8432/"),
        ("0.0.0.0", 80, "http://127.0.0.1:80/"),
        ("::1", 8432, "http://[::1]:8432/"),
        ("127.0.0.1", 0, "the port of http_started in the log"),
    ],
)
def test_up_says_an_address_that_a_browser_can_open(host: str, port: int, said: str) -> None:
    assert address(HttpSettings(http_host=host, http_port=port)) == said
