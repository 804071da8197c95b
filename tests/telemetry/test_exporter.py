"""SpanRecorder are made when OpenTelemetry's own variables ask for them, and cost nothing otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from pgembedd.telemetry.exporter import configured_tracing
from pgembedd.telemetry.observer import SILENT, Observer, ObserverGroup
from pgembedd.telemetry.prometheus import PrometheusMetrics
from pgembedd.telemetry.setup import observer_of
from pgembedd.telemetry.spans import SpanRecorder
from tests.support.owners import REPOSITORY

ENDPOINT = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of OpenTelemetry's set."""
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@contextmanager
def traces() -> Iterator[SpanRecorder | None]:
    made = configured_tracing()
    try:
        yield made
    finally:
        if made is not None:
            made.close()


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ENDPOINT + "/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": "none, Console"},
    ],
    ids=str,
)
def test_these_ask_for_traces(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with traces() as made:
        assert made is not None
    observer = observer_of(with_metrics=True)
    assert isinstance(observer, ObserverGroup)
    assert [type(part) for part in observer.parts] == [PrometheusMetrics, SpanRecorder]
    observer.close()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "shop"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
    ids=str,
)
def test_these_do_not(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with traces() as made:
        assert made is None
    assert observer_of(with_metrics=False) is SILENT


@pytest.mark.parametrize(("given", "name"), [("", "pgembedd"), ("shop-embedder", "shop-embedder")])
def test_the_service_has_a_name(environment: pytest.MonkeyPatch, given: str, name: str) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "console")
    environment.setenv("OTEL_SERVICE_NAME", given)
    with traces() as made:
        assert made is not None
        assert made.resource["service.name"] == name


def test_an_exporter_that_nobody_has_is_no_reason_not_to_work(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with structlog.testing.capture_logs() as log, traces() as made:
        assert made is None
    assert [(event["event"], "zipkin" in event["why"]) for event in log] == [("traces_off", True)]


def test_a_missing_package_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "otlp")
    environment.setitem(sys.modules, "opentelemetry.sdk.resources", None)  # what import does where it is not installed
    with structlog.testing.capture_logs() as log, traces() as made:
        assert made is None
    assert [event["why"] for event in log] == [
        "the package opentelemetry.sdk.resources is missing: pip install 'pgembedd[otel]'"
    ]


@pytest.mark.slow
def test_without_them_nothing_of_it_is_even_imported() -> None:
    program = (
        "import sys; from pgembedd.telemetry.setup import observer_of; observer_of(with_metrics=False);"
        "import pgembedd.loop.worker;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus'))])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert outcome.stdout.strip() == "[]"


def test_several_observers_hear_everything_that_one_can_hear() -> None:
    class Ears(Observer):
        heard: list[str]

        def __init__(self) -> None:
            self.heard = []

        def extended(self, held: int, lost: int) -> None:
            self.heard.append(f"extended {held} {lost}")

        def connection(self, purpose: str, up: bool) -> None:
            self.heard.append(f"connection {purpose} {up}")

    ears = [Ears(), Ears()]
    several = ObserverGroup(ears)
    several.extended(3, 1)
    several.connection("store", up=False)

    assert [each.heard for each in ears] == [["extended 3 1", "connection store False"]] * 2
    public = {name for name in vars(Observer) if not name.startswith("_")}
    assert public <= set(vars(ObserverGroup))
