"""The machine's own matrix-multiply speed at this model's shapes, and what share of it each session reaches.

The peak of a precision is the best any library at hand does for the products of one layer, at any number of tokens, on
all cores at once, one thread each. A session's speed is that of the bench's texts, end to end: tokenising, embedding,
attention, normalisation, quantising and pooling are in the time, but only the operations of `operations` are counted.
Rounds are interleaved.
"""

import json
import statistics
import sys
from collections import defaultdict

from bench.corpus import load_corpus, sample
from bench.engines.catalogue import OWN, PEERS, ours
from bench.engines.files import add_options, model_files
from bench.engines.process import Bout, MissingEngineError, run_module, running
from bench.report import Result, compare, parser, publish, versions
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.onnx.checkpoint import BertConfig, read_config
from pgembedd.model.tokenizer import Tokenizer

LIBRARIES = {"onnxruntime": OWN, "torch": PEERS}

Rates = dict[str, dict[str, list[float]]]
"""By precision, then by case, a rate of each round: GFLOP/s a core of products, texts a second of sessions."""


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


def measure(model: str, bout: Bout, texts: list[str], rounds: int) -> tuple[Rates, Rates]:
    """Each library's products and each session's texts a second, in turns; nothing of a library that is not there."""
    products: Rates = defaultdict(lambda: defaultdict(list))
    sessions: Rates = defaultdict(lambda: defaultdict(list))
    missing: dict[str, str] = {}
    with running(ours(model), bout, missing) as engines:
        for engine in engines:
            engine.embed(bout.warm_up)
        for _ in range(rounds):
            for library, venv in LIBRARIES.items():
                try:
                    lines = run_module(venv, "bench.engines.multiply", library, str(bout.threads)).splitlines()
                except MissingEngineError as reason:
                    missing[library] = str(reason)
                    continue
                for line in map(json.loads, lines):
                    case = f"{library} {line['precision']} products, {line['tokens']} tokens"
                    products[line["precision"]][case].append(line["gflops"])
            for engine in engines:
                sessions[engine.case.precision][engine.case.name].append(len(texts) / engine.embed(texts))
    for name, why in missing.items():
        print(f"Left out: {name} ({why}).", file=sys.stderr)
    return products, sessions


def results(products: Rates, sessions: Rates, cores: int, gflop_per_text: float) -> list[Result]:
    """Peaks, what the sessions do, and the shares."""
    found = []
    for precision, session in sessions.items():
        speeds = products[precision]
        peak = max(speeds, key=lambda case: statistics.median(speeds[case]))
        own = {case: [rate * gflop_per_text / cores for rate in rates] for case, rates in session.items()}
        found += compare("roofline", "GFLOP/s a core", speeds | own, peak)
        shares = {
            f"{case}, of the peak": [100 * one / other for one, other in zip(rates, speeds[peak], strict=True)]
            for case, rates in own.items()
        }
        found += compare("roofline", "%", shares)
    if {"fp32", "int8"} <= products.keys():
        found.append(int8_gain(products))
    return found


def int8_gain(products: Rates) -> Result:
    """The gain of int8 where products take all of the time: what no model gets beyond, as attention remains fp32."""
    peaks = {name: max(map(statistics.median, speeds.values())) for name, speeds in products.items()}
    gain = peaks["int8"] / peaks["fp32"]
    return Result("roofline", "int8 products, of fp32's", gain, "times", (gain, gain))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--texts", type=int, default=192, help="texts that a session embeds in a round")
    add_options(options)
    given = options.parse_args()
    name, folder = model_files(given.model, given.tokenizer)
    limit = describe_folder(folder).max_tokens
    texts = sample(load_corpus().texts, given.texts)
    config, tokenizer = read_config(folder / "config.json"), Tokenizer(folder / "tokenizer.json", limit)
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    gflop = statistics.fmean(operations(length, config) for length in lengths) / 1e9
    bout = Bout(folder, limit, usable_cores(), texts[:32])
    products, sessions = measure(name, bout, texts, given.rounds)
    used = versions("pgembedd", "onnxruntime") | {"model": given.model, "cores used": str(bout.threads)}
    publish(results(products, sessions, bout.threads, gflop), used, as_json=given.json)


if __name__ == "__main__":
    main()
