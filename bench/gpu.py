"""Texts a second of a session on a GPU, beside the limit of its matrix units and sentence-transformers at fp16.

The limit is what onnxruntime does on the same device for one large product of fp16 matrices, over the operations of
the texts (`bench.roofline.operations`: gte-small has 42.5 MFLOP a token). sentence-transformers is measured where it is
installed with a torch that has CUDA (`make bench-setup` installs one for the CPU); else it is left out, and named.
Rows a second are those of the backfill of a table on this machine, with one worker and with two. Without a GPU it ends
with a sentence. `--on-cpu` runs the same graph on onnxruntime's CPU provider, to try the bench.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from bench.corpus import load_corpus, sample
from bench.engines.catalogue import Case
from bench.engines.files import add_options, model_files
from bench.engines.process import Bout, running
from bench.pipeline import backfill_and_await, insert_and_await, make_table
from bench.report import compare, interleave, parser, publish, timed, versions
from bench.roofline import operations
from bench.workers import database, fleet
from pgembedd.database.vector_codec import find_vector_type
from pgembedd.errors import ConfigurationError
from pgembedd.model import Session, device_check
from pgembedd.model.cpu import usable_cores
from pgembedd.model.files.local_model import describe_folder
from pgembedd.model.onnx.checkpoint import read_config
from pgembedd.model.onnx.device import CUDA, check_device
from pgembedd.model.onnx.runtime import CPU
from pgembedd.model.specs import REGISTRY
from pgembedd.model.tokenizer import Tokenizer

PEER = Case("sentence-transformers, fp16 on CUDA", "sentence", "fp16", settings={"device": "cuda", "size": 256})
WIDTH = {CUDA: 8_192, CPU: 512}
"""Of the square matrices whose product is the limit."""
SECONDS, WARM_UPS = 1.0, 3
WORKERS, COPIES = (1, 2), 4
"""Of a backfill, which takes each text four times, behind a number."""


def find_device(*, on_cpu: bool) -> str:
    """Returns the provider that sessions on the device `cuda` have from now on. SystemExit without a GPU."""
    if on_cpu:
        device_check.PROVIDER = CPU
        return CPU
    try:
        check_device()
    except ConfigurationError as error:
        sys.exit(str(error))
    return CUDA


def product_flops(provider: str, width: int) -> float:
    """Floating point operations a second of products of fp16 matrices of this width, which stay on the device."""
    import onnxruntime as ort
    from onnx import TensorProto, helper

    sides = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT16, [width, width]) for name in "xwy"}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "product", [sides["x"], sides["w"]], [sides["y"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=[provider])
    place, binding = "cuda" if provider == CUDA else "cpu", session.io_binding()
    for name in "xw":
        values = np.random.default_rng(1).normal(size=(width, width)).astype(np.float16)
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(values, place, 0))
    binding.bind_output("y", place, 0)
    for _ in range(WARM_UPS):
        session.run_with_iobinding(binding)
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        session.run_with_iobinding(binding)
        calls += 1
    return 2 * width**3 * calls / elapsed


def carried(name: str, texts: Sequence[str], count: int, rounds: int) -> list[float]:
    """Rows a second that so many workers carry, all on one device: from backfill() to the commit of the last vector."""
    with database() as (connection, conninfo):
        find_vector_type(connection)
        make_table(connection, "plain", name, index=False)
        with fleet(conninfo, count, PGEMBEDD_DEVICE="cuda") as workers:
            insert_and_await(connection, workers, "plain", texts[:200])
            many = [f"{number} {text}" for number in range(COPIES) for text in texts]
            return [backfill_and_await(connection, workers, "plain", many) for _ in range(rounds)]


def device_name() -> str:
    """The driver's name of the GPU that CUDA gives this process."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", "-i", first, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--texts", type=int, default=8_192, help="texts of a round")
    options.add_argument("--on-cpu", action="store_true", help="the same graph on the CPU, to try the bench")
    add_options(options)
    given = options.parse_args()
    provider = find_device(on_cpu=given.on_cpu)
    named = {"GPU": device_name()} if provider == CUDA else {}
    name, folder = model_files(given.model, given.tokenizer)
    limit, texts = describe_folder(folder).max_tokens, sample(load_corpus().texts, given.texts)
    config, tokenizer = read_config(folder / "config.json"), Tokenizer(folder / "tokenizer.json", limit, parallel=True)
    lengths = [len(tokens.ids) for tokens in tokenizer.encode_all(texts)]
    flop = sum(operations(length, config) for length in lengths)
    ours, missing = f"pgembedd, fp16 on {'CUDA' if provider == CUDA else 'the CPU provider'}", dict[str, str]()
    bout = Bout(folder, limit, usable_cores(), texts[:32])
    with Session(name, device="cuda") as session, running([] if given.on_cpu else [PEER], bout, missing) as peers:
        engines = {ours: lambda: len(texts) / timed(lambda: session.embed(texts))}
        engines |= {peer.case.name: partial(lambda peer: len(texts) / peer.embed(texts), peer) for peer in peers}
        rates = interleave(engines, given.rounds, warm_up=True)
        flops = [product_flops(provider, WIDTH[provider]) for _ in range(given.rounds)]
        used = versions("pgembedd", "onnxruntime", "numpy") | named
        used |= {"model": session.fingerprint, "cores used": str(bout.threads)}
        for peer in peers:
            used = peer.versions | used
    peak = "limit of the matrix units"
    results = compare("gpu", "texts/s", {peak: [each * len(texts) / flop for each in flops], **rates}, peak)
    results += compare("gpu", "tokens/s", {ours: [rate * sum(lengths) / len(texts) for rate in rates[ours]]})
    results += compare("gpu", "TFLOP/s", {"fp16 product": [each / 1e12 for each in flops]})
    if provider == CUDA and name in REGISTRY:
        carries = {f"backfill, workers: {count}": carried(name, texts, count, given.rounds) for count in WORKERS}
        results += compare("gpu", "rows/s", carries)
    publish(results, used, as_json=given.json)
    for case, reason in missing.items():
        print(f"Left out: {case} ({reason}).", file=sys.stderr)


if __name__ == "__main__":
    main()
