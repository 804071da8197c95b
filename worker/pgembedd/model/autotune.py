"""What this machine prefers: how many runs at once, and how many tokens a run of short texts may hold.

Measured on request, remembered in the cache, and read when a model is loaded. It changes the speed and nothing else:
no vector depends on it, and the fingerprint does not know it.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pgembedd.model.batching import MAX_RUN_TOKENS
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.cache import cache_root, exclusive, publish, workspace

RUN_TOKENS = (1, 128, 512, 2048)
ROUNDS = 3
CLEARLY = 1.03
"""A setting has to be this much faster than the default one to be preferred to it: less is noise."""


@dataclass(frozen=True)
class Tuning:
    """`threads` runs go on at once; texts of equal length share one while they have at most `run_tokens` tokens."""

    threads: int
    run_tokens: int = MAX_RUN_TOKENS


@dataclass(frozen=True)
class Measured:
    """How fast a setting was: texts per second, the median of its rounds."""

    tuning: Tuning
    texts_per_s: float


class Embedder(Protocol):
    """As much of a session as is measured here."""

    def embed(self, texts: Sequence[str], /) -> object:
        """The vectors of these texts; waits for them."""

    def close(self) -> None:
        """Ends its threads."""


def default_tuning() -> Tuning:
    """One run per core that this process may use."""
    return Tuning(usable_cores())


def remembered(fingerprint: str, cache_dir: Path | None = None) -> Tuning | None:
    """What was found best for this model on this machine with as many cores; None where nobody measured."""
    try:
        return Tuning(**_entries(_path(cache_dir))[_key(fingerprint)])
    except (KeyError, TypeError):  # nothing found, or written by another version
        return None


def remember(fingerprint: str, tuning: Tuning | None, cache_dir: Path | None = None) -> Path:
    """Keep it for this model and machine, or forget what was kept; returns the file."""
    path = _path(cache_dir)
    with exclusive(path.parent), workspace(path.parent) as unfinished:
        entries = _entries(path)
        entries.pop(_key(fingerprint), None)
        if tuning is not None:
            entries[_key(fingerprint)] = asdict(tuning)
        (unfinished / path.name).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        publish(unfinished / path.name, path)
    return path


def _entries(path: Path) -> dict[str, dict[str, int]]:
    """What the file holds; nothing where it is missing or damaged, for then it is worth nothing."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _path(cache_dir: Path | None) -> Path:
    return cache_root(cache_dir) / "tuning" / "tuning.json"


def _key(fingerprint: str) -> str:
    """A cache may be shared by machines, and a container's quota may change."""
    return f"{fingerprint} on {_processor()}, {usable_cores()} cores"


def _processor() -> str:
    """The processor's name as the kernel gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def search_best(
    load: Callable[[Tuning], Embedder], texts: Sequence[str], report: Callable[[Measured], None]
) -> Measured:
    """Try numbers of threads, then sizes of a run with the best of them; the default unless another is clearly faster.

    `load` opens the model with a setting. Rounds are interleaved, so that a noisy minute hits all candidates.
    """
    default = default_tuning()
    by_threads = _fastest(load, texts, [Tuning(threads) for threads in _thread_counts(default.threads)], report)
    sizes = [Tuning(by_threads.tuning.threads, size) for size in RUN_TOKENS]
    return _fastest(load, texts, sizes, report)


def _thread_counts(cores: int) -> list[int]:
    """The cores we may use, half of them (where two of them are one core's two threads), and those of the machine."""
    return sorted({max(1, cores // 2), cores, min(os.cpu_count() or cores, 2 * cores)})


def _fastest(
    load: Callable[[Tuning], Embedder],
    texts: Sequence[str],
    candidates: Iterable[Tuning],
    report: Callable[[Measured], None],
) -> Measured:
    embedders = {tuning: load(tuning) for tuning in candidates}
    try:
        rates: dict[Tuning, list[float]] = {tuning: [] for tuning in embedders}
        for embedder in embedders.values():
            embedder.embed(texts[:8])
        for _ in range(ROUNDS):
            for tuning, embedder in embedders.items():
                started = time.perf_counter()
                embedder.embed(texts)
                rates[tuning].append(len(texts) / (time.perf_counter() - started))
    finally:
        for embedder in embedders.values():
            embedder.close()
    measured = [Measured(tuning, statistics.median(numbers)) for tuning, numbers in rates.items()]
    for each in measured:
        report(each)
    best = max(measured, key=lambda each: each.texts_per_s)
    usual = next(each for each in measured if _is_default(each.tuning, measured))
    return best if best.texts_per_s > CLEARLY * usual.texts_per_s else usual


def _is_default(tuning: Tuning, measured: Sequence[Measured]) -> bool:
    """The default among these: the usual size of a run, and the usual number of threads where that varies."""
    cores = default_tuning().threads
    return tuning.run_tokens == MAX_RUN_TOKENS and (
        tuning.threads == cores or all(each.tuning.threads == tuning.threads for each in measured)
    )
