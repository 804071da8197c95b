"""The dashboard and the alerts use only metrics that docs/reference/metrics.md has (a test of /metrics checks it)."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.project.deploy import ALERTS, ROOT, run_tool, tool

DASHBOARD = ROOT / "deploy" / "grafana.json"
OF_PROMETHEUS = {"up": {"job", "instance"}}


def told() -> dict[str, set[str]]:
    """Every metric with its labels, as it is queried; those of a histogram by their three names."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", page, re.M):
        known = set(re.findall(r"`(\w+)`", labels)) | OF_PROMETHEUS["up"]
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + end: known | ({"le"} if end == "_bucket" else set()) for end in ends}
    return found


@cache
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@cache
def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def expressions() -> dict[str, str]:
    """Of both, by where they stand."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in panels():
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel.get("targets", [])}
    return found


@pytest.mark.parametrize("where", expressions())
def test_an_expression_asks_for_what_is_told(where: str) -> None:
    expression = expressions()[where]
    names = set(re.findall(r"\b(?:pgembedd_\w+|process_\w+|up)\b", expression))
    assert names
    assert names <= set(told())

    bare = re.sub(r'"[^"]*"', '""', expression)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", bare))
    for inside in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", bare):
        labels |= {label.strip() for label in inside.split(",")}
    assert labels <= set().union(*(told()[name] for name in names))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_it_stands_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in headings


def test_every_alert_that_is_explained_is_one() -> None:
    page = (ROOT / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")

    assert re.findall(r"^### (Pgembedd\w+)$", page, re.M) == [rule["alert"] for rule in rules()]


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = {one["name"]: one for one in board["templating"]["list"]}

    assert variables["datasource"]["type"] == "datasource"
    assert {"id", "gnetId", "__inputs"} & set(board) == set()  # what Grafana gives, or asks for at every import
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        for one in [panel, *panel.get("targets", [])] if panel["type"] != "row" else []:
            assert one["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


# -- with Prometheus's own tool ----------------------------------------------------------------------------------

SERIES = {
    "PgembeddDown": ['up{job="pgembedd", instance="a"} 1 0x60'],
    "PgembeddNoWorker": ["pgembedd_workers 1 0x60", 'pgembedd_demand_seconds{pipeline="p"} 0 5x60'],
    "PgembeddDatabaseAway": ["pgembedd_database_up 1 0x60"],
    "PgembeddQueueAgeing": [
        'pgembedd_queue_oldest_age_seconds{pipeline="p", lane="fresh"} 0+60x60',
        'pgembedd_pipeline_state{pipeline="p", state="running"} 1x60',
    ],
    "PgembeddNoProgress": ['pgembedd_pipeline_state{pipeline="p", state="stalled"} 0 1x60'],
    "PgembeddPipelineStopped": ['pgembedd_pipeline_state{pipeline="p", state="stopped"} 0 1x60'],
    "PgembeddPipelineUnserved": ['pgembedd_pipeline_state{pipeline="p", state="unserved"} 0 1x60'],
    "PgembeddDeadLetters": ['pgembedd_dead_letters{pipeline="p", reason="write"} 3x60'],
    "PgembeddRestarting": ['process_start_time_seconds{job="pgembedd"} 60x10 720 780 840x20'],
    "PgembeddSuspects": ['pgembedd_suspects_total{pipeline="p"} _x20 1x20'],
    "PgembeddLeasesLost": ["pgembedd_lease_losses_total 0x20 1x20"],
    "PgembeddHttpErrors": [
        'pgembedd_http_requests_total{route="/embed", code="503"} 0+10x60',
        'pgembedd_http_requests_total{route="/embed", code="200"} 0+50x60',
    ],
}
QUIET = {
    "PgembeddNoWorker": ["pgembedd_workers 1 0x60", 'pgembedd_demand_seconds{pipeline="p"} 5 0x60'],
    "PgembeddQueueAgeing": [
        'pgembedd_queue_oldest_age_seconds{pipeline="p", lane="fresh"} 0+60x60',
        'pgembedd_pipeline_state{pipeline="p", state="running"} 0x60',
    ],
    "PgembeddNoProgress": ['pgembedd_pipeline_state{pipeline="p", state="stalled"} 0 1x2 0x60'],
    "PgembeddSuspects": ['pgembedd_suspects_total{pipeline="p"} 1x60'],
    "PgembeddHttpErrors": ['pgembedd_http_requests_total{route="/embed", code="200"} 0+50x60'],
}


def firing(tmp_path: Path, alert: str, series: list[str]) -> bool:
    """Whether the alert fires 25 minutes into these series, a value a minute (at 45 for those that look back)."""
    at = "45m" if series == QUIET.get("PgembeddSuspects") else "25m"
    test = {
        "rule_files": [str(ALERTS)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [split(one) for one in series],
                "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(test), encoding="utf-8")
    outcome = run_tool(*tool("promtool"), "test", "rules", str(path))
    fired = outcome.returncode != 0
    assert not fired or "exp:[" in outcome.stdout + outcome.stderr, outcome
    return fired


def split(series: str) -> dict[str, str]:
    end = series.index("}") + 1 if "}" in series else series.index(" ")
    return {"series": series[:end], "values": series[end:].strip()}


@pytest.mark.slow
@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_an_alert_fires_when_it_should(tmp_path: Path, alert: str) -> None:
    assert firing(tmp_path, alert, SERIES[alert])


@pytest.mark.slow
@pytest.mark.parametrize("alert", QUIET)
def test_an_alert_is_quiet_when_it_should(tmp_path: Path, alert: str) -> None:
    assert not firing(tmp_path, alert, QUIET[alert])
