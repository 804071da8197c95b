"""pgembedd's own session. Settings: `precision`, and `model`, the name or path that `Session` takes."""

from bench.engines.common import Embed, Setup
from pgembedd.model import Session

PACKAGES = ("onnxruntime",)


def load(setup: Setup) -> Embed:
    """A session as the worker opens it."""
    model, precision = setup.settings["model"], setup.settings["precision"]
    session = Session(model, precision=precision, threads=setup.threads)
    return lambda texts: session.embed(texts).vectors
