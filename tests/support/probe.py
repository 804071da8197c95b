"""Writes the graph by which the worker checks a processor's 8-bit products (model/onnx/cpu_check.onnx)."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from pgembedd.model.onnx.cpu_check import DEPTH

WIDTH = 16


def write_probe(path: Path) -> None:
    """Writes the largest activations times the largest weights, in both forms."""
    shape = [DEPTH, WIDTH]
    weights = [
        helper.make_tensor("signed", TensorProto.INT8, shape, [127] * DEPTH * WIDTH),
        helper.make_tensor("unsigned", TensorProto.UINT8, shape, [255] * DEPTH * WIDTH),
        helper.make_tensor("zero_point", TensorProto.UINT8, [], [128]),
    ]
    nodes = [
        helper.make_node("MatMulInteger", ["activations", "signed"], ["signed_sums"]),
        helper.make_node("MatMulInteger", ["activations", "unsigned", "", "zero_point"], ["unsigned_sums"]),
    ]
    activations = helper.make_tensor_value_info("activations", TensorProto.UINT8, ["rows", DEPTH])
    sums = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", WIDTH])
        for name in ("signed_sums", "unsigned_sums")
    ]
    graph = helper.make_graph(nodes, "probe", [activations], sums, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString(deterministic=True))
