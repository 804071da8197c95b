"""/metrics counts real work in a form that Prometheus reads, and docs/reference/metrics.md has every metric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.loop.model_loader import loader
from pgembedd.model import Session
from pgembedd.telemetry.observer import ObserverGroup
from pgembedd.telemetry.prometheus import PrometheusMetrics
from tests.support.databases import Database, fresh_database
from tests.support.documents import make_documents, waiting
from tests.support.embedders import MODEL, only
from tests.support.http import TOKEN, serving
from tests.support.sql import let_leases_run_out
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.worker import brisk, worker_thread

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
DOCUMENTS = """
    insert into documents values
        (1, 'one'), (2, 'two'), (3, 'bad secret'), (4, null), (5, repeat('long ', 400)), (6, 'six');
    create function refuse() returns trigger language plpgsql as $$
    begin
        if new.body like 'bad%' then raise exception 'no'; end if;
        return new;
    end $$;
    create trigger refuse before update on documents for each row execute function refuse()
"""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def worked(server: EmbeddedPostgres, template: Database) -> Iterator[httpx.Client]:
    """A service next to a worker that has met rows of every kind, and one more row that no worker has come to yet."""
    observer = ObserverGroup([PrometheusMetrics()])
    with fresh_database(server, template.name) as database, database.connect() as connection:
        make_documents(connection, max_attempts=2, retry_delay="1 min")
        connection.execute(DOCUMENTS)
        with worker_thread(database, loader(brisk(), observer), observer=observer):
            eventually(lambda: [job.attempts for job in waiting(connection)] == [1], timeout_s=PATIENCE_S)
            let_leases_run_out(connection)
            eventually(lambda: not waiting(connection), timeout_s=PATIENCE_S)
        connection.execute("insert into documents values (7, 'later')")
        connection.execute("update pgmq.q_pgembedd_fresh set enqueued_at = now() - interval '90 s'")
        load = loader(brisk(), observer)
        with serving(load, database.conninfo, observer=observer, http_token=TOKEN) as client:
            client.post("/embed", json={"input": "hello"})
            client.get("/nothing/like/this")
            client.post("/embed", json={"input": ""})
            yield client


@pytest.fixture(scope="module")
def samples(worked: httpx.Client) -> Samples:
    """Every sample of a scrape."""
    return read(worked)


def read(client: httpx.Client) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: Samples = {}
    for family in parser.text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, "a series that comes twice makes Prometheus drop the scrape"
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"pgembedd_{name}", frozenset(labels.items())]


@pytest.mark.slow
def test_the_rows_are_counted_by_what_became_of_them(samples: Samples) -> None:
    assert of(samples, "rows_total", pipeline="documents", outcome="written") == 4
    assert of(samples, "rows_total", pipeline="documents", outcome="unchanged") == 1  # blank, and had no vector
    assert of(samples, "failed_attempts_total", pipeline="documents", reason="write", outcome="retry") == 1
    assert of(samples, "failed_attempts_total", pipeline="documents", reason="write", outcome="dead") == 1
    assert of(samples, "truncations_total", pipeline="documents") == 1


@pytest.mark.slow
def test_the_model_is_counted_by_kind(samples: Samples) -> None:
    # 3 is read twice, and its vector is known the second time.
    assert of(samples, "model_texts_total", model=MODEL, kind="document") == 5
    assert of(samples, "recalled_texts_total", model=MODEL) == 1
    assert of(samples, "model_texts_total", model=MODEL, kind="query") == 1
    assert of(samples, "model_tokens_total", model=MODEL, kind="query") == 3
    assert of(samples, "model_tokens_total", model=MODEL, kind="document") > 256
    assert of(samples, "model_padding_tokens_total", model=MODEL, kind="document") == 0
    runs = of(samples, "model_run_duration_seconds_count", model=MODEL)
    assert 1 <= runs <= 6
    assert of(samples, "model_run_texts_sum", model=MODEL) == 6


@pytest.mark.parametrize("stage", ["claim", "read", "embed", "store"])
def test_every_stage_is_timed(samples: Samples, stage: str) -> None:
    count = of(samples, "stage_duration_seconds_count", stage=stage)
    assert count >= 2
    assert of(samples, "stage_duration_seconds_bucket", stage=stage, le="+Inf") == count
    assert of(samples, "stage_duration_seconds_sum", stage=stage) > 0


def test_the_queue_is_asked_for(samples: Samples) -> None:
    assert of(samples, "database_up") == 1
    assert of(samples, "queue_jobs", pipeline="documents", lane="fresh") == 1
    assert of(samples, "queue_jobs", pipeline="documents", lane="backfill") == 0
    assert 90 <= of(samples, "queue_oldest_age_seconds", pipeline="documents", lane="fresh") < 600
    assert of(samples, "queue_oldest_age_seconds", pipeline="documents", lane="backfill") == 0
    assert of(samples, "dead_letters", pipeline="documents", reason="write") == 1
    assert of(samples, "noted_rows", pipeline="documents", state="blank") == 1
    assert of(samples, "noted_rows", pipeline="documents", state="truncated") == 1
    assert of(samples, "pipeline_state", pipeline="documents", state="running") == 1
    assert of(samples, "pipeline_state", pipeline="documents", state="stopped") == 0
    assert 0 < of(samples, "pipeline_rows_per_second", pipeline="documents") <= 5 / 10
    assert of(samples, "demand_seconds", pipeline="documents") == pytest.approx(0.1)  # of one job
    assert of(samples, "workers") == 0  # it has been stopped


def test_requests_are_counted_by_route_and_never_by_path(samples: Samples) -> None:
    assert of(samples, "http_requests_total", method="POST", route="/embed", code="200") == 1
    assert of(samples, "http_requests_total", method="POST", route="/embed", code="422") == 1
    assert of(samples, "http_requests_total", method="GET", route="unknown", code="404") == 1
    assert of(samples, "http_requests_in_flight") == 1  # the scrape itself
    assert not [key for key in samples if "nothing" in str(key)]


def test_the_process_is_looked_at(samples: Samples) -> None:
    assert samples["process_resident_memory_bytes", frozenset()] > 1e7
    assert samples["process_start_time_seconds", frozenset()] > 1e9
    assert [dict(labels)["version"] for name, labels in samples if name == "pgembedd_build_info"]
    assert of(samples, "connection_up", purpose="work") == 1
    assert [name for name, _ in samples if name == "pgembedd_model_loaded"]


def test_no_label_holds_content_or_a_key(samples: Samples) -> None:
    values = {value for _, labels in samples for name, value in labels if name != "le"}
    assert not [value for value in values if "secret" in value or (value.isdigit() and int(value) < 100)]


def test_openmetrics_is_given_to_who_asks_for_it(worked: httpx.Client) -> None:
    answer = worked.get("/metrics", headers=OPENMETRICS)

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    assert {"pgembedd_rows", "pgembedd_queue_jobs"} <= names


def test_metrics_are_for_admins(worked: httpx.Client) -> None:
    assert worked.get("/metrics", headers={"authorization": "Bearer wrong-wrong-wrong-wrong"}).status_code == 401
    assert worked.get("/metrics", headers={"authorization": ""}).status_code == 401


def test_a_token_for_vectors_is_not_enough(model: Session, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("only-for-vectors-here embed\nscrapes-and-all-that admin\n", encoding="utf-8")
    with serving(only(model), http_tokens_file=str(tokens)) as client:
        statuses = [
            client.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code
            for token in ("only-for-vectors-here", "scrapes-and-all-that")
        ]
    assert statuses == [403, 200]


# -- the page ----------------------------------------------------------------------------------------------


def families(client: httpx.Client) -> dict[str, set[str]]:
    """Name as it is queried → labels; a counter with its _total, a histogram by its bare name."""
    found: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(client.get("/metrics").text):
        name = family.name + "_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels if label != "le"}
    return found


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `((?:pgembedd|process)_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text("utf-8"), re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows}


def test_the_page_has_every_metric_with_its_labels_and_no_other(worked: httpx.Client) -> None:
    told = families(worked)

    assert set(told) == set(documented())
    for name, labels in told.items():
        if labels:  # one that has counted nothing yet shows none
            assert labels == documented()[name], name


UNITS = {"seconds", "bytes"}


def test_names_follow_the_conventions_of_prometheus(worked: httpx.Client) -> None:
    """Base units stand last, before a counter's _total; a histogram of time is a duration; a status code is `code`."""
    wrong = []
    for family in parser.text_string_to_metric_families(worked.get("/metrics").text):
        words, labels = family.name.split("_"), {label for sample in family.samples for label in sample.labels}
        if words[0] == "process":
            continue
        is_time = "seconds" in words
        if family.type == "counter" and family.name.endswith("_total"):
            wrong.append(f"{family.name}: a counter's name ends once in _total")
        if UNITS & set(words[:-1]) or {"ms", "milliseconds", "minutes"} & set(words):
            wrong.append(f"{family.name}: its unit is no base unit at its end")
        if is_time and family.type == "histogram" and not family.name.endswith("_duration_seconds"):
            wrong.append(f"{family.name}: a duration")
        if labels & {"status", "status_code", "queue", "name"}:
            wrong.append(f"{family.name}: labels {labels}")
    assert wrong == []


# -- a database that is away -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_scrape_answers_without_the_database(model: Session) -> None:
    with serving(only(model), "postgresql://nobody@127.0.0.1:1/nowhere", observer=PrometheusMetrics()) as client:
        client.get("/livez")
        samples = read(client)

    assert of(samples, "database_up") == 0
    assert of(samples, "http_requests_total", method="GET", route="/livez", code="200") == 1
    assert not [name for name, _ in samples if name.startswith("pgembedd_queue_jobs")]


def test_an_error_of_the_database_leaves_the_rest(empty_database: Database, model: Session) -> None:
    with serving(only(model), empty_database.conninfo) as client:
        samples = read(client)

    assert of(samples, "database_up") == 1  # it answered: there is no pgembedd in it


def test_without_a_database_nothing_is_said_of_one(model: Session) -> None:
    with serving(only(model)) as client:
        assert ("pgembedd_database_up", frozenset()) not in read(client)
