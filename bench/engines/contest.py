"""Engines side by side: all loaded, one working at a time, round after round."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.engines.catalogue import Case, Peer
from bench.engines.common import Float32Array
from bench.engines.files import ensure_form
from bench.engines.process import Engine, Measured, MissingEngineError

SAME = 0.999
"""Least cosine to our own fp32 at which a peer of that precision computes the same model."""


@dataclass(frozen=True)
class Bout:
    """What all engines are given: the model's files, limit, cores, texts to warm up with and to calibrate by."""

    folder: Path
    max_tokens: int
    threads: int
    warm_up: tuple[str, ...]
    calibration: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """An engine's share in the contest: one measurement a round, its versions, its cosines to our fp32."""

    case: Case
    versions: dict[str, str]
    cosines: Float32Array
    rounds: tuple[Measured, ...]

    def rates(self, sizes: Sequence[int]) -> list[float]:
        """Texts, or tokens, a second in each round."""
        return [size / each.seconds for size, each in zip(sizes, self.rounds, strict=True)]


def start(case: Case, bout: Bout) -> Engine:
    """The engine with its files written, loaded; MissingEngineError where that cannot be."""
    ensure_form(bout.folder, case, bout.calibration)
    return Engine(case, bout.folder, max_tokens=bout.max_tokens, threads=bout.threads)


@contextmanager
def running(cases: Sequence[Case], bout: Bout, missing: dict[str, str]) -> Iterator[list[Engine]]:
    """The engines that can be had; why the others cannot goes to `missing`, by name."""
    with ExitStack() as stack:
        engines = []
        for case in cases:
            try:
                engines.append(stack.enter_context(start(case, bout)))
            except MissingEngineError as reason:
                missing[case.name] = str(reason)
        yield engines


def contest(cases: Sequence[Case], bout: Bout, slices: Sequence[list[str]], missing: dict[str, str]) -> list[Entry]:
    """Every case over every slice, A B A B ...; the first case is what vectors are compared with."""
    with running(cases, bout, missing) as engines, tempfile.TemporaryDirectory() as scratch:
        vectors = [engine.vectors(list(bout.warm_up), Path(scratch)) for engine in engines]
        rounds = [[engine.embed(texts) for engine in engines] for texts in slices]
        return [
            Entry(engine.case, engine.versions, cosines(found, vectors[0]), tuple(each[number] for each in rounds))
            for number, (engine, found) in enumerate(zip(engines, vectors, strict=True))
        ]


def cosines(ones: Float32Array, others: Float32Array) -> Float32Array:
    """Cosine of each row with the same row, of vectors of norm 1: (n,)."""
    products: Float32Array = np.einsum("ij,ij->i", ones, others)
    return products


def best_settings(peer: Peer, bout: Bout, slices: Sequence[list[str]], missing: dict[str, str]) -> Case | None:
    """The settings that embed these slices in the least time; None where the peer is missing.

    The figure that counts is measured again in the contest, so that a lucky trial gains nothing.
    """
    with running(peer.tuned, bout, missing) as engines:
        for engine in engines:
            engine.embed(list(bout.warm_up))
        times = [[engine.embed(texts).seconds for engine in engines] for texts in slices]
        if not engines:
            return None
        return engines[int(np.argmin(np.sum(times, axis=0)))].case
