"""The batcher: who goes together, who waits, who fails. A stand-in embeds, whose vectors say which text it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pgembedd.errors import ConfigurationError, ModelError, OverloadedError, ProviderBusyError, ProviderRefusedError
from pgembedd.http.models.request_batcher import MAX_WAITING, RequestBatcher
from pgembedd.model import Embeddings, Kind, Text
from pgembedd.scheduler import Lane
from tests.support.waiting import PATIENCE_S

BAD = "bad"


class StandIn:
    """Embeds a text as (its length,), a batch at a time, and only when it is let; fails where a text is BAD."""

    def __init__(self, name: str = "stand-in", error: Exception | None = None) -> None:
        self.name, self.error = name, error
        self.batches: list[tuple[list[Text], Kind, Lane | None]] = []
        self.go = threading.Semaphore(0)
        self.reached = threading.Semaphore(0)

    def start(self, texts: Sequence[Text], *, kind: Kind = "document", lane: Lane | None = None) -> Any:
        self.batches.append((list(texts), kind, lane))
        self.reached.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        if self.error is not None:
            raise self.error
        if BAD in texts:
            raise ModelError("bad text")
        self.texts = texts
        lengths = np.array([len(text) for text in texts])
        counts = lengths.astype(np.int32)
        vectors = Embeddings(lengths[:, None].astype(np.float32), 0 * counts, counts)
        return type("Pending", (), {"result": lambda _self: vectors})()

    def await_batches(self, count: int) -> None:
        for _ in range(count):
            assert self.reached.acquire(timeout=PATIENCE_S)

    def let(self, batches: int = 1) -> None:
        self.go.release(batches)

    @property
    def texts_of_batches(self) -> list[list[Text]]:
        return [texts for texts, _, _ in self.batches]

    def close(self) -> None: ...


@pytest.fixture
def model() -> Any:
    return StandIn()


def batcher_of(**limits: int) -> RequestBatcher:
    return RequestBatcher(None, **({"runners": 1} | limits))


@pytest.fixture
def batcher(model: Any) -> Iterator[RequestBatcher]:
    opened = batcher_of()
    yield opened
    model.let(1000)
    opened.close()


def test_a_request_goes_at_once_and_those_that_come_meanwhile_go_together(batcher: RequestBatcher, model: Any) -> None:
    first = batcher.ask(model, ["a"])
    model.await_batches(1)
    others = [batcher.ask(model, ["bb", "ccc"]), batcher.ask(model, ["dddd"])]
    model.let(2)
    assert first.result(PATIENCE_S).vectors.tolist() == [[1]]
    assert [future.result(PATIENCE_S).vectors.tolist() for future in others] == [[[2], [3]], [[4]]]
    assert others[0].result().tokens.tolist() == [2, 3]
    assert model.texts_of_batches == [["a"], ["bb", "ccc", "dddd"]]


def test_as_many_batches_as_runners_are_in_the_model_at_once(model: Any) -> None:
    batcher = batcher_of(runners=3)
    for text in "abc":
        batcher.ask(model, [text])
        model.await_batches(1)
    model.let(3)
    batcher.close()
    assert model.texts_of_batches == [["a"], ["b"], ["c"]]


def test_only_what_is_of_one_model_and_kind_goes_together(batcher: RequestBatcher, model: Any) -> None:
    batcher.ask(model, ["a"])
    model.await_batches(1)
    other: Any = SimpleNamespace(start=model.start, name="other")
    asked = [
        batcher.ask(model, ["q1"]), batcher.ask(model, ["d1"], "document"), batcher.ask(other, ["o1"]),
        batcher.ask(model, ["q2"]), batcher.ask(model, ["d2"], "document"),
    ]  # fmt: skip
    model.let(4)
    for future in asked:
        future.result(PATIENCE_S)
    assert model.batches[1:] == [
        (["q1", "q2"], "query", "query"), (["d1", "d2"], "document", "query"), (["o1"], "query", "query"),
    ]  # fmt: skip


def test_a_batch_ends_where_its_tokens_do_and_what_is_left_keeps_its_order(model: Any) -> None:
    batcher = batcher_of(max_batch_tokens=10)
    batcher.ask(model, ["first"])
    model.await_batches(1)
    waiting = [batcher.ask(model, [tuple(range(size))]) for size in (4, 30, 4, 9)]  # each with one more for safety
    model.let(4)
    for future in waiting:
        future.result(PATIENCE_S)
    batcher.close()
    assert [[len(text) for text in texts] for texts in model.texts_of_batches[1:]] == [[4, 4], [30], [9]]


def test_a_bad_text_fails_its_own_request_only(batcher: RequestBatcher, model: Any) -> None:
    batcher.ask(model, ["a"])
    model.await_batches(1)
    good, bad, other = batcher.ask(model, ["bb"]), batcher.ask(model, ["x", BAD]), batcher.ask(model, ["ccc"])
    model.let(100)
    assert good.result(PATIENCE_S).vectors.tolist() == [[2]]
    assert other.result(PATIENCE_S).vectors.tolist() == [[3]]
    with pytest.raises(ModelError, match="bad text"):
        bad.result(PATIENCE_S)
    assert model.texts_of_batches[1:] == [["bb", "x", BAD, "ccc"], ["bb"], ["x", BAD], ["ccc"]]


@pytest.mark.parametrize("error", [ProviderBusyError("silent", 5), ProviderRefusedError("no"), OverloadedError("full")])
def test_an_error_that_is_of_no_text_is_waited_for_once(batcher: RequestBatcher, error: Exception) -> None:
    model: Any = StandIn(error=error)
    first = batcher.ask(model, ["a"])
    model.await_batches(1)
    others = [batcher.ask(model, ["bb"]), batcher.ask(model, ["ccc"])]
    model.let(100)
    for future in (first, *others):
        with pytest.raises(type(error), match=str(error)):
            future.result(PATIENCE_S)
    assert model.texts_of_batches == [["a"], ["bb", "ccc"]]


def test_a_silent_provider_holds_up_no_other_model(model: Any) -> None:
    batcher, silent = batcher_of(max_waiting=2), StandIn("openai:small")
    held: Any = silent
    asked = [batcher.ask(held, ["a"])]
    silent.await_batches(1)
    asked.append(batcher.ask(held, ["b", "c"]))
    with pytest.raises(OverloadedError, match="2 texts wait"):
        batcher.ask(held, ["d"])
    model.let()
    assert batcher.ask(model, ["eeee", "f"]).result(PATIENCE_S).vectors.tolist() == [[4], [1]]
    silent.let(2)
    for future in asked:
        future.result(PATIENCE_S)
    batcher.close()


def test_what_nobody_waits_for_any_more_is_not_embedded(batcher: RequestBatcher, model: Any) -> None:
    batcher.ask(model, ["a"])
    model.await_batches(1)
    left, stayed = batcher.ask(model, ["left"]), batcher.ask(model, ["stayed"])
    assert left.cancel()
    model.let(2)
    stayed.result(PATIENCE_S)
    assert model.texts_of_batches == [["a"], ["stayed"]]
    with pytest.raises(CancelledError):
        left.result()


def test_bulk_goes_its_own_way_and_a_query_does_not_wait_for_it(batcher: RequestBatcher, model: Any) -> None:
    batcher.ask(model, ["word " * 2_000], "document")
    model.await_batches(1)
    query = batcher.ask(model, ["a"])
    model.await_batches(1)
    model.let(2)
    query.result(PATIENCE_S)
    assert [(kind, lane) for _, kind, lane in model.batches] == [("document", "fresh"), ("query", "query")]


def test_more_than_may_wait_are_refused_until_there_is_room(model: Any) -> None:
    batcher = batcher_of(max_waiting=3)
    batcher.ask(model, ["a"])
    model.await_batches(1)
    waiting = batcher.ask(model, ["b", "c"])
    with pytest.raises(OverloadedError, match="2 texts wait"):
        batcher.ask(model, ["d", "e"])
    batcher.ask(model, ["d"])
    model.let(2)
    waiting.result(PATIENCE_S)
    model.let()
    assert batcher.ask(model, list("abcdefg")).result(PATIENCE_S).vectors.shape == (7, 1), "alone it may be larger"
    batcher.close()


def test_closing_finishes_the_batch_under_way_and_refuses_the_rest(model: Any) -> None:
    batcher = batcher_of()
    under_way = batcher.ask(model, ["a"])
    model.await_batches(1)
    waiting, cancelled = batcher.ask(model, ["b"]), batcher.ask(model, ["c"])
    cancelled.cancel()
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(OverloadedError, match="is stopping"):
        waiting.result(PATIENCE_S)
    model.let()
    closing.join(PATIENCE_S)
    assert under_way.result(PATIENCE_S).vectors.tolist() == [[1]]
    with pytest.raises(OverloadedError, match="is stopping"):
        batcher.ask(model, ["d"])


@pytest.mark.parametrize("limit", ["max_waiting", "max_batch_tokens"])
def test_no_room_at_all_is_refused(model: Any, limit: str) -> None:
    with pytest.raises(ConfigurationError):
        batcher_of(**{limit: 0})


def test_requests_from_many_threads_get_their_own_vectors(model: Any) -> None:
    batcher = batcher_of(runners=4, max_batch_tokens=64)
    model.let(100_000)
    wrong: list[int] = []

    def client(number: int) -> None:
        for i in range(50):
            texts = ["x" * (1 + (number * 7 + i + j) % 60) for j in range(i % 5)]
            got = batcher.ask(model, texts).result(PATIENCE_S).vectors
            wrong.extend([number] if got.tolist() != [[len(text)] for text in texts] else [])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not wrong
    more_than_may_wait = ["x"] * (MAX_WAITING + 1)
    assert len(batcher.ask(model, more_than_may_wait).result(PATIENCE_S).vectors) > MAX_WAITING, "the count is not 0"
    batcher.close()
