"""Writing an ONNX graph: nodes in order, small tensors inside it, weights in a file next to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

ALIGNMENT_BYTES = 4096  # a page, so that onnxruntime can map the weights instead of copying them
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""

_OPSET, _IR_VERSION = 21, 10


@dataclass
class GraphWriter:
    """Collects nodes, and streams weights to the file that lies next to the graph."""

    weights: BinaryIO
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its only output."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """A small tensor that lies inside the graph itself (shapes must, for onnxruntime to read them)."""
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """A tensor whose bytes go to the weights file, little-endian as ONNX wants them."""
        self.weights.write(b"\0" * (-self.weights.tell() % ALIGNMENT_BYTES))
        data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(values.dtype),
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": Path(self.weights.name).name, "offset": self.weights.tell(), "length": len(data)}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        self.weights.write(data)
        self.initializers.append(tensor)
        return name

    def model(self, inputs: Mapping[str, tuple[int, list[str]]], output_name: str, shape: list[str | int]) -> bytes:
        """The whole as a file: `inputs` with element type and shape; float32 of `shape` out of the last node."""
        self.nodes[-1].output[0] = output_name
        given = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
        found = helper.make_tensor_value_info(output_name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "encoder", given, [found], self.initializers)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pgembedd")
        return bytes(model.SerializeToString(deterministic=True))
