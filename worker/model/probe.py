"""Does this processor multiply 8-bit integers exactly? Asked of onnxruntime itself, before an int8 graph is used.

Without the instructions made for it (VNNI and its like) some kernels add pairs of products in 16 bits, where the
largest overflow: vectors would come out wrong, and nobody would be told.
"""

from pathlib import Path

import numpy as np

from worker.errors import ModelError

_DEPTH = 64
_LARGEST_SUM = 255 * 127 * _DEPTH


def write_probe(path: Path) -> None:
    """A graph that multiplies the largest activations with the largest weights, laid beside the int8 graph."""
    from onnx import TensorProto, helper

    levels = helper.make_tensor_value_info("levels", TensorProto.UINT8, [1, _DEPTH])
    total = helper.make_tensor_value_info("total", TensorProto.INT32, [1, 1])
    weights = helper.make_tensor("weights", TensorProto.INT8, [_DEPTH, 1], [127] * _DEPTH)
    node = helper.make_node("MatMulInteger", ["levels", "weights"], ["total"])
    graph = helper.make_graph([node], "probe", [levels], [total], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString(deterministic=True))


def require_exact_integers(path: Path) -> None:
    """ModelError where the products of the graph at `path` overflow on this processor; takes a millisecond."""
    from worker.model.encoder import load_session

    (total,) = load_session(path, optimize=False).run(None, {"levels": np.full((1, _DEPTH), 255, np.uint8)})
    if int(total[0, 0]) != _LARGEST_SUM:
        raise ModelError(
            "This processor's 8-bit products overflow (it has no VNNI instructions), so int8 would give wrong vectors;"
            " use fp32 here."
        )
