"""Where the model's time goes: onnxruntime's own profile of our graphs over the bench's texts, summed by operator.

Texts run one at a time on one core, as the session runs them. Profiling itself costs a little for each operator, so
what many small ones do is somewhat overstated.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.corpus import load_corpus, sample
from bench.engines.files import add_options, model_files
from bench.report import compare, interleave, parser, publish, versions
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


def profile(session: Session, texts: Sequence[str]) -> dict[str, float]:
    """Percent of all time by kind of operator."""
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
    return {kind: 100 * spent[kind] / spent.total() for kind in (*KINDS, REST)}


def _kind(operator: str) -> str:
    return next((kind for kind, operators in KINDS.items() if operator in operators), REST)


def main() -> None:
    """Profile both precisions in turns."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--texts", type=int, default=96, help="texts of a round")
    add_options(options)
    given = options.parse_args()
    name, _ = model_files(given.model, given.tokenizer)
    texts = sample(load_corpus().texts, given.texts)
    cases = {str(each): partial(profile, Session(name, precision=each), texts) for each in PRECISIONS}
    used = versions("pgembedd", "onnxruntime") | {"model": given.model}
    publish(compare("operators", "%", interleave(cases, given.rounds)), used, as_json=given.json)


if __name__ == "__main__":
    main()
