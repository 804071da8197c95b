"""Tuning: measured, remembered per model and machine, heeded by sessions, and blind to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pgembedd.model import Session, autotune
from pgembedd.model.autotune import Measured, Tuning, default_tuning, remember, remembered, search_best
from tests.support.command import pgembedd


class PacedEmbedder:
    """A stand-in for a session whose clock is moved by its setting, so that tests do not measure this machine."""

    def __init__(self, clock: list[float], seconds_a_text: float) -> None:
        self._clock, self._seconds = clock, seconds_a_text
        self.closed = False

    def embed(self, texts: Sequence[str], /) -> None:
        self._clock[0] += self._seconds * len(texts)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A machine with four cores, and the clock that is read there."""
    clock = [0.0]
    monkeypatch.setattr(autotune, "usable_cores", lambda: 4)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    return clock


def search(clock: list[float], seconds: dict[Tuning, float]) -> tuple[Tuning, list[Measured], list[PacedEmbedder]]:
    """The best, all that was reported, all that was opened; a setting not named takes a second a text."""
    opened: list[PacedEmbedder] = []
    reported: list[Measured] = []

    def load(setting: Tuning) -> PacedEmbedder:
        opened.append(PacedEmbedder(clock, seconds.get(setting, 1.0)))
        return opened[-1]

    best = search_best(load, ["a"] * 10, reported.append)
    return best.tuning, reported, opened


def test_the_fastest_threads_and_then_the_fastest_size(four_cores: list[float]) -> None:
    best, reported, opened = search(four_cores, {Tuning(2): 0.5, Tuning(2, 128): 0.25, Tuning(4, 128): 0.1})
    assert best == Tuning(2, 128)
    assert {each.tuning for each in reported} >= {Tuning(2), Tuning(4), Tuning(8), Tuning(2, 1), Tuning(2, 2048)}
    assert next(each.texts_per_s for each in reported if each.tuning == Tuning(2, 128)) == pytest.approx(4.0)
    assert all(each.closed for each in opened)


def test_what_is_hardly_faster_is_not_preferred(four_cores: list[float]) -> None:
    best, _, _ = search(four_cores, {Tuning(8): 0.98, Tuning(4, 128): 0.99})
    assert best == default_tuning() == Tuning(4, 512)


def test_a_session_heeds_what_was_found(tiny_folder: Path, tmp_path: Path) -> None:
    def session(**more: int) -> Session:
        return Session("tiny", model_dir=tiny_folder, cache_dir=tmp_path / "cache", **more)  # type: ignore[arg-type]

    with session() as usual:
        fingerprint, vectors = usual.fingerprint, usual.run(["x", "y z", "a b"])
        assert usual.threads == default_tuning().threads
    remember(fingerprint, Tuning(3, 1), tmp_path / "cache")
    with session() as tuned:
        assert tuned.threads == 3
        assert tuned.fingerprint == fingerprint
        assert np.abs(tuned.run(["x", "y z", "a b"]) - vectors).max() < 1e-6
    with session(threads=1) as asked:
        assert asked.threads == 1
    remember(fingerprint, None, tmp_path / "cache")
    with session() as again:
        assert again.threads == default_tuning().threads


def test_other_models_and_other_quotas_keep_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("a@1", Tuning(1, 1), tmp_path)
    remember("b@2", Tuning(2, 2), tmp_path)
    assert remembered("a@1", tmp_path) == Tuning(1, 1)
    assert remembered("b@2", tmp_path) == Tuning(2, 2)
    monkeypatch.setattr(autotune, "usable_cores", lambda: 64)
    assert remembered("a@1", tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', '{"a@1 on": {"threads": 2, "more": 3}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    path = remember("a@1", Tuning(1), tmp_path)
    path.write_text(content)
    assert remembered("a@1", tmp_path) is None
    remember("a@1", Tuning(2), tmp_path)
    assert remembered("a@1", tmp_path) == Tuning(2)


def test_the_command_measures_and_forgets(tiny_folder: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    done = pgembedd("tune", "tiny", "--model-dir", str(tiny_folder), PGEMBEDD_CACHE_DIR=cache)
    assert done.code == 0, done.err
    assert "every text alone" in done.out
    assert "tiny at fp32 does best" in done.out
    done = pgembedd("tune", "tiny", "--model-dir", str(tiny_folder), "--forget", PGEMBEDD_CACHE_DIR=cache)
    assert done.out == "Forgotten: tiny at fp32 runs as it would without tuning.\n"
