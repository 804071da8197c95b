"""Files from the Hugging Face Hub, through its own client into its ordinary cache (HF_HOME is honoured)."""

import os
import time
from pathlib import Path

from pgembedd.errors import ModelUnavailableError
from pgembedd.model.files.sources import Notify, unavailable
from pgembedd.model.model_spec import HubSource, ModelFile, ModelSpec

_ANSWER_TIMEOUT_S = 5.0

_REMEMBER_S = 60.0

_no_answer: dict[str, tuple[float, str]] = {}
"""Per repository, when it did not answer (monotonic) and why: a silent Hub is not asked again at every file."""


class HubFetcher:
    """One repository at one commit."""

    def __init__(self, spec: ModelSpec, source: HubSource, notify: Notify) -> None:
        self._spec, self._source, self._notify = spec, source, notify

    def path(self, file: ModelFile) -> Path:
        """Returns the path where the client finds it without asking the Hub.

        The layout is the client's documented one, read here because importing the client takes longer than
        loading the tokenizer does.
        """
        from huggingface_hub import constants

        folder = "--".join(("models", *self._source.repository.split("/")))
        return Path(constants.HF_HUB_CACHE, folder, "snapshots", self._source.revision, file.name)

    def fetch(self, file: ModelFile) -> Path:
        """Downloads it, after one quick check that the Hub answers; its client would retry for 20 s."""
        self._require_answer(file)
        import huggingface_hub

        self._notify(
            f"Fetching {file.name} of {self._spec.name} ({file.size_bytes / 1e6:.1f} MB)"
            f" from the Hugging Face Hub ({self._source.repository})."
        )
        try:
            path = huggingface_hub.hf_hub_download(
                self._source.repository,
                file.name,
                revision=self._source.revision,
                force_download=self.path(file).is_file(),
            )
        except Exception as error:  # of the client or of the transport under it: not available now
            raise self._unavailable(_first_line(error)) from error
        return Path(path)

    def _require_answer(self, file: ModelFile) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise self._unavailable("HF_HUB_OFFLINE is set")
        asked_at, reason = _no_answer.get(self._source.repository, (0.0, ""))
        if reason and time.monotonic() - asked_at < _REMEMBER_S:
            raise self._unavailable(reason)
        import huggingface_hub

        url = huggingface_hub.hf_hub_url(self._source.repository, file.name, revision=self._source.revision)
        try:
            huggingface_hub.get_hf_file_metadata(url, timeout=_ANSWER_TIMEOUT_S)
        except Exception as error:  # as above
            reason = _first_line(error)
            _no_answer[self._source.repository] = time.monotonic(), reason
            raise self._unavailable(reason) from error

    def _unavailable(self, reason: str) -> ModelUnavailableError:
        other = self._spec.stand_in
        remedy = "check the network" + (f", take the model {other}, which the package index has" if other else "")
        return unavailable(self._spec, "the Hugging Face Hub", reason, remedy)


def _first_line(error: Exception) -> str:
    """The first line of the error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
