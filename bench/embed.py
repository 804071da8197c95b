"""Texts and tokens a second of our session, next to other libraries: same weights, texts and cores.

Every engine runs in a process of its own, loaded once; all but the one that measures are stopped. Vectors are checked:
what claims fp32 and has less than 0.999 cosine to ours is an error. Peers live in virtual environments of their own
(`make bench-setup`); those that are not there are left out, and named.
"""

import sys
from collections.abc import Sequence

import numpy as np

from bench.corpus import load_corpus, sample, summary
from bench.engines.catalogue import OPTIMUM, PEER_CASES, Case, ours
from bench.engines.files import add_options, model_files, write_forms
from bench.engines.process import Bout, Engine, running
from bench.report import Result, averaged, compare, parser, publish, versions
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

WARM_UP, CALIBRATION = 32, 300
SAME = 0.999
"""Least cosine to our own fp32 at which a peer of that precision computes the same model."""


def contest(cases: Sequence[Case], bout: Bout, slices: Sequence[list[str]], missing: dict[str, str]) -> list[Engine]:
    """Every case over every slice, A B A B ..., after the texts to warm up with; their processes have ended then."""
    with running(cases, bout, missing) as engines:
        for texts in (bout.warm_up, *slices):
            for engine in engines:
                engine.embed(texts)
        return engines


def results(engines: Sequence[Engine], sizes: dict[str, list[int]]) -> list[Result]:
    """Texts and tokens a second, peak MB, and cosines to our fp32: the mean, since the worst is in the spread.

    `sizes` has texts and tokens of each round, by unit; the round before was to warm up. Our fp32 is the first engine.
    """
    found = []
    for unit, counts in sizes.items():
        rates = {each.case.name: np.divide(counts, each.seconds[1:]).tolist() for each in engines}
        found += compare("embed", unit, rates, engines[0].case.name)
    found += compare("embed", "MB", {each.case.name: [each.peak_mb] for each in engines})
    return found + [averaged("embed", "cosine", each.case.name, cosines(each, engines[0])) for each in engines]


def cosines(one: Engine, other: Engine) -> list[float]:
    """The cosine of the vectors of each text that both have embedded first."""
    return [float(cosine) for cosine in np.einsum("ij,ij->i", one.first, other.first)]


def used(engines: Sequence[Engine], model: str, threads: int) -> dict[str, str]:
    """Versions, and what else a figure depends on."""
    found = versions("pgembedd") | {"model": model, "cores used": str(threads)}
    for each in engines:
        # Two environments hold two versions of a library: the one of the case that names it first counts.
        for package, number in each.versions.items():
            found.setdefault(f"{package} (onnx)" if each.case.venv == OPTIMUM else package, number)
    return found | {f"settings of {each.case.name}": each.case.shown() for each in engines if "best" in each.case.name}


def divide(texts: Sequence[str], rounds: int, count: int) -> tuple[list[str], list[str], list[list[str]]]:
    """Texts to warm up with, to calibrate by, and slices to measure, each with the same mixture of lengths."""
    warm_up = sample(texts, WARM_UP)
    calibration = sample([text for text in texts if text not in warm_up], CALIBRATION)
    apart = {*warm_up, *calibration}
    by_length = sorted((text for text in texts if text not in apart), key=len)
    return warm_up, calibration, [sample(by_length[number::rounds], count) for number in range(rounds)]


def main() -> None:
    """Measure, print, and complain if a peer computes something else."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--texts", type=int, default=256, help="texts of a slice")
    options.add_argument("--short", action="store_true", help="the cases that matter most")
    add_options(options)
    given = options.parse_args()
    name, folder = model_files(given.model, given.tokenizer)
    corpus = load_corpus()
    texts = sample(corpus.texts, WARM_UP + CALIBRATION + given.texts * given.rounds)
    warm_up, calibration, slices = divide(texts, given.rounds, given.texts)
    cases = [each for each in PEER_CASES if each.name.startswith(SHORT if given.short else "")]
    bout = Bout(folder, describe_folder(folder).max_tokens, usable_cores(), warm_up)
    missing = write_forms(folder, cases, calibration)
    engines = contest([*ours(name), *(each for each in cases if each.name not in missing)], bout, slices, missing)
    count = Tokenizer(folder / "tokenizer.json", bout.max_tokens).count
    lengths = [[count(text) for text in each] for each in slices]
    tokens = [sum(min(length, bout.max_tokens) for length in each) for each in lengths]
    publish(
        results(engines, {"texts/s": list(map(len, slices)), "tokens/s": tokens}),
        used(engines, given.model, bout.threads),
        as_json=given.json,
    )
    print(
        summary([length for each in lengths for length in each], "tokens"), *corpus.missing(), sep="\n", file=sys.stderr
    )
    for case, reason in missing.items():
        print(f"Left out: {case} ({reason}). `make bench-setup` installs the peers.", file=sys.stderr)
    exact = [each for each in engines if each.case.precision == "fp32"]
    wrong = [each.case.name for each in exact if min(cosines(each, engines[0])) < SAME]
    if wrong:
        sys.exit(f"Not the same model, so not comparable: {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
