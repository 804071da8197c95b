"""The machine's own matrix-multiply speed at this model's shapes, and what share of it each session reaches.

The peak of a precision is the best any library at hand does for the products of one layer, at any number of tokens, on
all cores at once, one thread each. A session's speed is that of the bench's texts, end to end: tokenising, embedding,
attention, normalisation, quantising and pooling are in the time, but only the operations of `operations` are counted.
Rounds are interleaved.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.corpus import load_corpus, sample
from bench.engines.catalogue import OWN, PEERS, Case, ours
from bench.engines.contest import Bout, running
from bench.engines.files import GTE_SHAPE, gte_shape, real_model
from bench.engines.process import OFFLINE, interpreter
from bench.report import Result, compare, publish, versions
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.onnx.checkpoint import BertConfig, read_config
from pgembedd.model.tokenizer import Tokenizer

LIBRARIES = {"onnxruntime": OWN, "torch": PEERS}
PERCENT = "%"

Rates = dict[tuple[str, str, int], list[float]]
"""GFLOP/s a core by library, precision and number of tokens, one a round."""


def operations(tokens: int, config: BertConfig) -> int:
    """Floating point operations that one text of this many tokens takes, a multiply-add being two.

    For each layer, of width d and inner width i: the linear products, 2 tokens (4 d^2 + 2 d i), which are Q, K, V, the
    attention's output and the feed-forward's two; and attention itself, 4 tokens^2 d, which is Q with K and the weights
    with V. Embedding, softmax, GELU, norms and pooling are not counted. gte-small: 42.5 MFLOP for each token, and
    18.4 kFLOP for each pair of tokens. int8 has the same operations, in which attention remains fp32.
    """
    width, inner = config.hidden_size, config.intermediate_size
    linear = 2 * tokens * (4 * width * width + 2 * width * inner)
    return config.num_hidden_layers * (linear + 4 * tokens * tokens * width)


def multiply(library: str, threads: int) -> dict[tuple[str, str, int], float]:
    """GFLOP/s a core of one library, by itself in a process that ends; nothing where it is not installed."""
    python = interpreter(LIBRARIES[library])
    command = [str(python), "-W", "ignore", "-m", "bench.engines.multiply", library, "--threads", str(threads)]
    if not python.exists():
        return {}
    done = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"Left out: {library} ({complaint}).", file=sys.stderr)
        return {}
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {(library, line["precision"], line["tokens"]): line["gflops"] for line in lines}


def measure(cases: Sequence[Case], bout: Bout, texts: list[str], rounds: int) -> tuple[Rates, dict[str, list[float]]]:
    """Each library's products and each session's texts a second, in turns."""
    products: Rates = defaultdict(list)
    sessions: dict[str, list[float]] = defaultdict(list)
    missing: dict[str, str] = {}
    with running(cases, bout, missing) as engines:
        for engine in engines:
            engine.embed(list(bout.warm_up))
        for _ in range(rounds):
            for library in LIBRARIES:
                for key, rate in multiply(library, bout.threads).items():
                    products[key].append(rate)
            for engine in engines:
                sessions[engine.case.precision].append(len(texts) / engine.embed(texts).seconds)
    for name, reason in missing.items():
        print(f"Left out: {name} ({reason}).", file=sys.stderr)
    return products, sessions


def results(products: Rates, sessions: dict[str, list[float]], cores: int, gflop_per_text: float) -> list[Result]:
    """Peaks, what the sessions do, and the shares."""
    found = []
    for precision, rates in sessions.items():
        speeds = {
            f"{library} {precision} products, {tokens} tokens": numbers
            for (library, kind, tokens), numbers in products.items()
            if kind == precision
        }
        peak = max(speeds, key=lambda case: statistics.median(speeds[case]))
        ours = [rate * gflop_per_text / cores for rate in rates]
        found += compare("roofline", "GFLOP/s a core", speeds | {f"pgembedd, {precision}": ours}, peak)
        shares = [100 * one / other for one, other in zip(ours, speeds[peak], strict=True)]
        middle, spread = statistics.median(shares), (min(shares), max(shares))
        found.append(Result("roofline", f"pgembedd, {precision}, of the peak", middle, PERCENT, spread, None, None))
    return found


def main() -> None:
    """Measure and print."""
    options = _arguments()
    if options.model == GTE_SHAPE and options.tokenizer is None:
        sys.exit(f"{GTE_SHAPE} needs gte-small's own tokenizer; give the path of its tokenizer.json with --tokenizer.")
    folder = gte_shape(options.tokenizer) if options.model == GTE_SHAPE else real_model(options.model)
    limit = describe_folder(folder).max_tokens
    texts = sample(load_corpus().texts, options.texts)
    config, tokenizer = read_config(folder / "config.json"), Tokenizer(folder / "tokenizer.json", limit)
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    gflop = statistics.fmean(operations(length, config) for length in lengths) / 1e9
    cases = ours(str(folder) if options.model == GTE_SHAPE else options.model)
    bout = Bout(folder, limit, options.threads, tuple(texts[:32]), ())
    products, sessions = measure(cases, bout, texts, options.rounds)
    used = versions("pgembedd", "onnxruntime") | {"model": options.model, "cores used": str(options.threads)}
    publish(results(products, sessions, options.threads, gflop), used, as_json=options.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--texts", type=int, default=192, help="texts that a session embeds in a round")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="cores to use")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help=f"a registered model, or {GTE_SHAPE}")
    parser.add_argument("--tokenizer", type=Path, help=f"for {GTE_SHAPE}: gte-small's tokenizer.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
