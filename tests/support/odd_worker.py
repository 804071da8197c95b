"""`pgembedd` with a wrapper around the real model, for what cannot be done from outside the process.

`python -m tests.support.odd_worker run`, with ODD_MODEL set to

  dies:TEXT        the process ends (exit code 9) when a text that is TEXT comes to the model
  slow:SECONDS     the model's own threads are busy for so long before they look at a text
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from pgembedd import cli
from pgembedd.loop import model_loader
from pgembedd.model import Session
from pgembedd.model.embedder import Embedder
from pgembedd.settings import Settings
from pgembedd.telemetry.observer import SILENT, Observer
from tests.support.embedders import Hook, Wrapped

DIED_OF_TEXT = 9


def main() -> None:
    kind, _, what = os.environ["ODD_MODEL"].partition(":")
    real = model_loader.loader

    def wrapped(settings: Settings, observer: Observer = SILENT) -> Callable[[str], Embedder]:
        load = real(settings, observer)

        def wrapping(name: str) -> Embedder:
            session = load(name)
            assert isinstance(session, Session)
            return Own(session, on_start={"dies": dies(what), "slow": slow(session, what)}[kind])

        return wrapping

    model_loader.loader = wrapped
    cli.main()


class Own(Wrapped):
    """This process's only one, so that it is closed as a real one is."""

    def close(self) -> None:
        """Wait for what runs."""
        self._session.close()


def dies(text: str) -> Hook:
    """Ends the process as a crash in a library would."""

    def hook(texts: Sequence[str]) -> None:
        if text in texts:
            os._exit(DIED_OF_TEXT)

    return hook


def slow(session: Session, seconds: str) -> Hook:
    """Keeps the model's threads busy; nothing in Python can end them."""

    def hook(texts: Sequence[str]) -> None:
        for _ in range(session.threads):
            session._scheduler.submit("document", partial(time.sleep, float(seconds)))

    return hook


if __name__ == "__main__":
    main()
