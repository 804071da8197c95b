"""ModelRegistry by name: loaded once each, and none waits for another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from pgembedd.errors import ModelError
from pgembedd.model.embedder import Embedder
from pgembedd.model.registry import LoadedModels, ModelRegistry
from tests.support.tiny_models import panic
from tests.support.waiting import PATIENCE_S


class StandIn:
    """What a loader gives; never asked for vectors."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_while_one_model_is_loaded_others_are_had_and_loaded() -> None:
    reached, let_go = threading.Event(), threading.Event()

    def load(name: str) -> Embedder:
        if name == "slow":
            reached.set()
            assert let_go.wait(PATIENCE_S)
        return cast(Embedder, StandIn())

    models = ModelRegistry(load)
    there = models.get("there")
    with ThreadPoolExecutor(3) as threads:
        slow = threads.submit(models.get, "slow")
        assert reached.wait(PATIENCE_S)
        try:
            assert threads.submit(models.get, "there").result(PATIENCE_S) is there
            threads.submit(models.get, "another").result(PATIENCE_S)
        finally:
            let_go.set()
    assert slow.result() is models.get("slow")


def test_a_model_that_many_want_at_once_is_loaded_once() -> None:
    loads: list[str] = []
    together = threading.Barrier(8)

    def load(name: str) -> Embedder:
        loads.append(name)
        return cast(Embedder, StandIn())

    models = ModelRegistry(load)

    def want(_number: int) -> Embedder:
        together.wait(PATIENCE_S)
        return models.get("m")

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(want, range(8)))) == 1
    assert loads == ["m"]


def test_a_model_that_is_wanted_after_the_end_is_loaded_again() -> None:
    models = LoadedModels(lambda _name: StandIn())
    first = models.get("m")
    models.close()
    assert first.closed
    assert models.loaded() == []
    second = models.get("m")
    assert (second is first, second.closed) == (False, False)


def test_a_panic_of_a_library_is_an_error_of_the_model() -> None:
    models = LoadedModels(lambda _name: panic())
    with pytest.raises(ModelError) as refused:
        models.get("m")
    assert type(refused.value.__cause__).__name__ == "PanicException"
