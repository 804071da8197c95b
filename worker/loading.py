"""Where the worker meets the model: the only module of the worker that imports worker.model to embed."""

from collections.abc import Callable
from pathlib import Path

from worker.config import Settings
from worker.log import get_logger
from worker.models import Embedder


def loader(settings: Settings) -> Callable[[str], Embedder]:
    """Makes the Embedder of a model name, as the settings say."""

    def load(name: str) -> Embedder:
        from worker.model import Session

        session = Session(
            name,
            model_dir=Path(settings.model_dir) if settings.model_dir else None,
            threads=settings.threads or None,
            notify=lambda line: get_logger().info("model", doing=line),
        )
        get_logger().info("model_loaded", model=session.name, fingerprint=session.fingerprint, threads=session.threads)
        return session

    return load
