"""The device of the models."""

from collections.abc import Iterator

from pgembedd.doctor.finding import Finding
from pgembedd.errors import ConfigurationError
from pgembedd.model.onnx.device import check_device


def check_models_device(device: str) -> Iterator[Finding]:
    """Reports whether the GPU can be used; nothing where models run on the CPU."""
    if device != "cuda":
        return
    try:
        check_device()
    except ConfigurationError as error:
        yield Finding("bad", "device", str(error))
    else:
        yield Finding("ok", "device", "cuda: onnxruntime can use the GPU")
