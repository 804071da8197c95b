"""Texts and tokens a second of our session, beside other libraries: same weights, texts and cores.

Every engine runs in a process of its own, loaded once; all but the one that measures are stopped. Vectors are checked:
whoever claims fp32 and has less than 0.999 cosine to ours is an error. `--tune` tries several settings of each peer and
keeps the best; without it the ones that have been best before are taken. Peers live in virtual environments of their
own (`make bench-setup`); those that are not there are left out, and named.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bench.corpus import histogram_table, load_corpus, sample, summary
from bench.engines.catalogue import Case, ours, peers
from bench.engines.contest import SAME, Bout, Entry, best_settings, contest
from bench.engines.files import GTE_SHAPE, gte_shape, real_model
from bench.machine import machine
from bench.report import Result, publish, versions
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.tokenizer import Tokenizer

SHORT = (
    "bare loop,",
    "fastembed, d",
    "sentence-transformers, d",
    "OpenVINO fp32, b",
    "OpenVINO int8 static, b",
    "OpenVINO int8 dynamic, b",
    "CTranslate2 fp32, b",
    "CTranslate2 int8, b",
)
"""Beginnings of the names of the cases that `--short` keeps."""
WARM_UP, CALIBRATION = 64, 300
DISTURBED = 0.15
"""Cores kept busy by other processes from which on the reader is told."""


def main() -> None:
    """Measure, print, and complain if somebody computes something else."""
    options = _arguments()
    name, folder = _model(options)
    corpus = load_corpus()
    texts = sample(corpus.texts, WARM_UP + CALIBRATION + options.texts * options.rounds)
    lengths = _lengths(folder, texts)
    bout, slices = _divide(folder, options, texts)
    missing: dict[str, str] = {}
    entries = contest(_cases(name, options, bout, slices, missing), bout, slices, missing)
    read = dict(zip(texts, (min(each, bout.max_tokens) for each in lengths), strict=True))
    tokens = [sum(read[text] for text in each) for each in slices]
    used = _used(entries, options.model, bout)
    if options.json:
        publish(results(entries, slices, tokens), used, as_json=True)
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(f"{options.model}, limit {bout.max_tokens}: {summary(lengths)}")
        console.print(histogram_table(lengths))
        console.print(table(entries, slices, tokens))
        console.print(f"{machine()}; {', '.join(f'{name} {number}' for name, number in used.items())}")
    _remarks(entries, missing, corpus.missing())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=3, help="slices of texts that each engine embeds")
    parser.add_argument("--texts", type=int, default=256, help="texts of a slice")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores for each engine")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help=f"a registered model, or {GTE_SHAPE}")
    parser.add_argument("--tokenizer", type=Path, help=f"for {GTE_SHAPE}: gte-small's tokenizer.json")
    parser.add_argument("--tune", action="store_true", help="try settings of each peer instead of the usual best")
    parser.add_argument("--short", action="store_true", help="the cases that matter most")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="cases whose names begin so")
    return parser.parse_args()


def _model(options: argparse.Namespace) -> tuple[str, Path]:
    """What `Session` is to be given, and the folder for everybody else."""
    if options.model != GTE_SHAPE:
        return options.model, real_model(options.model)
    if options.tokenizer is None:
        sys.exit(f"{GTE_SHAPE} needs gte-small's own tokenizer; give the path of its tokenizer.json with --tokenizer.")
    folder = gte_shape(options.tokenizer)
    return str(folder), folder


def _lengths(folder: Path, texts: Sequence[str]) -> list[int]:
    """Tokens of each text before any limit."""
    tokenizer = Tokenizer(folder / "tokenizer.json", describe_folder(folder).max_tokens)
    return [tokenizer.count(text) for text in texts]


def _divide(folder: Path, options: argparse.Namespace, texts: list[str]) -> tuple[Bout, list[list[str]]]:
    """Texts to warm up with, to calibrate by, and slices to measure, each with the same mixture of lengths."""
    rest, chosen = list(texts), []
    for count in (WARM_UP, CALIBRATION):
        part = set(sample(rest, count))
        rest = [text for text in rest if text not in part]
        chosen.append(tuple(sorted(part)))
    by_length = sorted(rest, key=len)
    slices = [sample(by_length[number :: options.rounds], options.texts) for number in range(options.rounds)]
    bout = Bout(folder, describe_folder(folder).max_tokens, options.threads, chosen[0], chosen[1])
    return bout, slices


def _cases(
    model: str, options: argparse.Namespace, bout: Bout, slices: Sequence[list[str]], missing: dict[str, str]
) -> list[Case]:
    """Ours, and each peer as it comes and at its best."""
    wanted = tuple(options.only) or (SHORT if options.short else ("",))
    cases = list(ours(model))
    trial = [sample(texts, max(32, len(texts) // 4)) for texts in slices[:2]]
    for peer in peers():
        if peer.default.name.startswith(wanted):
            cases.append(peer.default)
        if peer.tuned[0].name.startswith(wanted):
            best = best_settings(peer, bout, trial, missing) if options.tune else peer.tuned[0]
            cases += [best] if best else []
    return cases


def results(entries: Sequence[Entry], slices: Sequence[list[str]], tokens: Sequence[int]) -> list[Result]:
    """Four lines a case: texts/s, tokens/s, peak MB, and its cosine to our fp32 (mean, and from least to most)."""
    texts = [len(each) for each in slices]
    found = []
    for entry in entries:
        values = {
            "texts/s": entry.rates(texts),
            "tokens/s": entry.rates(tokens),
            "MB": [entry.rounds[-1].peak_mb],
            "cosine": [float(each) for each in entry.cosines],
        }
        bases = {"texts/s": entries[0].rates(texts), "tokens/s": entries[0].rates(tokens)}
        found += [_result(entry, unit, numbers, entries[0], bases.get(unit)) for unit, numbers in values.items()]
    return found


def _result(entry: Entry, unit: str, numbers: list[float], base: Entry, others: list[float] | None) -> Result:
    """The median; of cosines the mean, since the worst is in the spread. The ratio is the median over the rounds."""
    middle = statistics.fmean(numbers) if unit == "cosine" else statistics.median(numbers)
    compared = others is not None and entry is not base
    ratio = statistics.median(np.divide(numbers, others)) if others is not None and compared else None
    spread = (min(numbers), max(numbers))
    return Result("embed", entry.case.name, middle, unit, spread, base.case.name if compared else None, ratio)


def table(entries: Sequence[Entry], slices: Sequence[list[str]], tokens: Sequence[int]) -> Table:
    """A line a case; the columns of ratios say how many times as fast ours is."""
    grid = Table(box=box.SIMPLE_HEAD)
    own = [entry for entry in entries if entry.case.engine == "ours"]
    titles = ["texts/s", "min - max", "tokens/s", *(f"{each.case.precision} is" for each in own), "peak", "cosine"]
    for title in ("engine", *titles):
        grid.add_column(title, justify="left" if title == "engine" else "right")
    texts = [len(each) for each in slices]
    for entry in entries:
        rates = entry.rates(texts)
        times = [f"{statistics.median(np.divide(each.rates(texts), rates)):.2f}x" for each in own]
        grid.add_row(
            entry.case.name,
            f"{statistics.median(rates):.1f}",
            f"{min(rates):.1f} - {max(rates):.1f}",
            f"{statistics.median(entry.rates(tokens)):.0f}",
            *times,
            f"{entry.rounds[-1].peak_mb:.0f} MB",
            f"{entry.cosines.mean():.5f} / {entry.cosines.min():.4f}",
        )
    return grid


def _used(entries: Sequence[Entry], model: str, bout: Bout) -> dict[str, str]:
    """Versions, and what else a figure depends on."""
    found = versions("pgembedd") | {"model": model, "cores used": str(bout.threads)}
    for entry in entries:
        # Two environments hold two versions of a library: the one of the case that names it first counts.
        for package, number in entry.versions.items():
            found.setdefault(package if entry.case.venv != ".venv-bench-optimum" else f"{package} (onnx)", number)
    return found | {
        f"settings of {entry.case.name}": entry.case.shown() for entry in entries if "best" in entry.case.name
    }


def _remarks(entries: Sequence[Entry], missing: dict[str, str], of_corpus: Sequence[str]) -> None:
    """What the reader must know, on stderr: who is missing, who was disturbed, who computes something else."""
    for sentence in of_corpus:
        print(sentence, file=sys.stderr)
    for name, reason in missing.items():
        print(f"Left out: {name} ({reason}).", file=sys.stderr)
    if missing:
        print("`make bench-setup` installs the peers beside the project, as no dependency of it.", file=sys.stderr)
    if entries and (others := statistics.fmean(m.others for entry in entries for m in entry.rounds)) > DISTURBED:
        print(f"Other processes kept {others:.1f} cores busy meanwhile; the ratios are worth less.", file=sys.stderr)
    wrong = [entry for entry in entries if entry.case.precision == "fp32" and entry.cosines.min() < SAME]
    if wrong:
        named = ", ".join(f"{entry.case.name} ({entry.cosines.min():.4f})" for entry in wrong)
        sys.exit(f"Not the same model, so not comparable: {named}.")


if __name__ == "__main__":
    main()
