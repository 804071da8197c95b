"""Where the model's time goes: onnxruntime's own profile of our graphs over the bench's texts, summed by operator.

Texts run one at a time on one core, as the session runs them. Profiling itself costs a little for each operator, so
what many small ones do is somewhat overstated.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.corpus import load_corpus, sample
from bench.engines.files import GTE_SHAPE, gte_shape
from bench.report import Result, publish, versions
from pgembedd.model import Session
from pgembedd.model.files.cache import cache_root
from pgembedd.model.graph_cache import GRAPH_FILE, graph_folder
from pgembedd.model.model_spec import Precision
from pgembedd.model.onnx.runtime import as_ids

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
KINDS = {
    "matrix products": ("MatMul", "MatMulIntegerToFloat"),
    "attention": ("MultiHeadAttention",),
    "GELU": ("BiasGelu", "Gelu"),
    "LayerNorm": ("LayerNormalization",),
    "quantising": ("QuantizeLinear", "ReduceMax", "Div", "Mul"),
    "additions": ("Add",),
}
REST = "the rest"


def profile(session: Session, texts: Sequence[str]) -> Counter[str]:
    """Microseconds by kind of operator."""
    import onnxruntime

    path = graph_folder(session.spec, cache_root()) / GRAPH_FILE
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "profile"))
        graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for text in texts:
            graph.run(None, {"input_ids": as_ids([session._encode(text, "document").ids])})
        events: list[dict[str, Any]] = json.loads(Path(graph.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[_kind(event["args"]["op_name"])] += event["dur"]
    return spent


def _kind(operator: str) -> str:
    return next((kind for kind, operators in KINDS.items() if operator in operators), REST)


def shares(precision: str, rounds: Sequence[Counter[str]]) -> list[Result]:
    """Percent of all time, the median of the rounds."""
    found = []
    for kind in (*KINDS, REST):
        percents = sorted(100 * each[kind] / each.total() for each in rounds)
        middle = percents[len(percents) // 2]
        spread = (percents[0], percents[-1])
        found.append(Result("operators", f"{precision}, {kind}", middle, "%", spread, None, None))
    return found


def main() -> None:
    """Profile both precisions in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--texts", type=int, default=96, help="texts of a round")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help=f"a registered model, or {GTE_SHAPE}")
    parser.add_argument("--tokenizer", type=Path, help=f"for {GTE_SHAPE}: gte-small's tokenizer.json")
    options = parser.parse_args()
    if options.model == GTE_SHAPE and options.tokenizer is None:
        parser.error(
            f"{GTE_SHAPE} needs gte-small's own tokenizer; give the path of its tokenizer.json with --tokenizer"
        )
    name = str(gte_shape(options.tokenizer)) if options.model == GTE_SHAPE else options.model
    texts = sample(load_corpus().texts, options.texts)
    rounds: dict[str, list[Counter[str]]] = {precision: [] for precision in PRECISIONS}
    sessions = {precision: Session(name, precision=precision) for precision in PRECISIONS}
    for _ in range(options.rounds):
        for precision, session in sessions.items():
            rounds[precision].append(profile(session, texts))
    used = versions("pgembedd", "onnxruntime") | {"model": options.model}
    publish([line for each in PRECISIONS for line in shares(each, rounds[each])], used, as_json=options.json)


if __name__ == "__main__":
    main()
