"""A checkpoint as an ONNX graph, in single precision or on 8-bit integers, and onnxruntime sessions."""
