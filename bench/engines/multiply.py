"""How fast a library multiplies matrices of a BERT's shapes, on every core at once, one thread each.

`python -m bench.engines.multiply LIBRARY THREADS` prints a JSON line for each precision and number of tokens:
`gflops` a core over the products of one layer in the mixture the model has. An int8 multiply-add counts
as two operations, as in fp32. int8 is unsigned times signed or unsigned, the one that is exact on this processor, into
int32 in onnxruntime (`MatMulInteger`, zero point 128 on the left), and oneDNN's linear, scaled to fp32, in torch.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPES = ((384, 384, 4), (384, 1536, 1), (1536, 384, 1))
"""(rows, columns) of the matrices of a layer, and how many there are."""
TOKENS = (16, 32, 64, 128, 256, 512)
SECONDS, WARM_UPS = 0.08, 5

Product = Callable[[], object]


def onnxruntime_product(precision: str, tokens: int, rows: int, columns: int) -> Product:
    """A graph of one node, its matrix constant, so that it is packed once as in a model."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(1)
    constants: list[NDArray[Any]]
    if precision == "fp32":
        kinds, operator, inputs = (TensorProto.FLOAT, TensorProto.FLOAT), "MatMul", ["x", "w"]
        constants = [random.normal(size=(rows, columns)).astype(np.float32)]
        left = random.normal(size=(tokens, rows)).astype(np.float32)
    else:
        from pgembedd.model.onnx.cpu_check import exact_signedness

        zero = np.array(128, np.uint8)
        kinds, operator, inputs = (TensorProto.UINT8, TensorProto.INT32), "MatMulInteger", ["x", "w", "zero"]
        levels = random.integers(-127, 128, (rows, columns))
        if exact_signedness() == "signed":
            constants = [levels.astype(np.int8), zero]
        else:
            constants, inputs = [(levels + 128).astype(np.uint8), zero, zero], [*inputs, "weights' zero"]
        left = random.integers(0, 256, (tokens, rows)).astype(np.uint8)
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kinds[0], ["tokens", rows])],
        [helper.make_tensor_value_info("y", kinds[1], ["tokens", columns])],
        [numpy_helper.from_array(value, name) for value, name in zip(constants, inputs[1:], strict=True)],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": left})


def torch_product(precision: str, tokens: int, rows: int, columns: int) -> Product:
    """`linear` in fp32; in int8 oneDNN's kernel, which torch's compiler uses for quantised models."""
    import torch

    torch.set_num_threads(1)
    if precision == "fp32":
        left, matrix = torch.randn(tokens, rows), torch.randn(columns, rows)
        return lambda: torch.nn.functional.linear(left, matrix)
    left = torch.randint(0, 256, (tokens, rows), dtype=torch.uint8)
    signed = torch.randint(-127, 128, (columns, rows), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(signed, [tokens, rows])
    scale, zero = torch.ones(columns), torch.zeros(columns, dtype=torch.int32)
    return lambda: torch.ops.onednn.qlinear_pointwise(
        left, 1.0, 128, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )


LIBRARIES = {"onnxruntime": onnxruntime_product, "torch": torch_product}


def seconds_per_call(product: Product, threads: int) -> float:
    """Wall clock of one call while as many threads as there are cores make such calls, on average."""
    for _ in range(WARM_UPS):
        product()

    def work(_: int) -> float:
        calls, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < SECONDS:
            product()
            calls += 1
        return elapsed / calls

    with ThreadPoolExecutor(threads) as pool:
        return float(np.mean(list(pool.map(work, range(threads)))))


def layer_gflops(library: str, precision: str, tokens: int, threads: int) -> float:
    """GFLOP/s a core over the linear products of one layer."""
    times = [
        count * seconds_per_call(LIBRARIES[library](precision, tokens, rows, columns), threads)
        for rows, columns, count in SHAPES
    ]
    operations = sum(2 * tokens * rows * columns * count for rows, columns, count in SHAPES)
    return operations / sum(times) / 1e9


def main() -> None:
    """Print the lines."""
    library, threads = sys.argv[1], int(sys.argv[2])
    # Before the library is imported: its threads are to be ours.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for precision in ("fp32", "int8"):
        for tokens in TOKENS:
            gflops = layer_gflops(library, precision, tokens, threads)
            print(json.dumps({"precision": precision, "tokens": tokens, "gflops": gflops}), flush=True)


if __name__ == "__main__":
    main()
