"""The reranker of a service, and the texts that wait for it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from pgembedd.errors import OverloadedError
from pgembedd.http.errors.refusals import Refusal
from pgembedd.model.registry import LoadedModels
from pgembedd.model.reranker import Reranker, Scores
from pgembedd.text.quantities import counted

URGENT_TEXTS = 20
"""A request with no more texts, such as a search's, goes ahead of larger ones."""


class ServedReranker:
    """Loads the reranker when it is first asked for, and limits the number of texts that wait for it."""

    def __init__(self, load: Callable[[str], Reranker], served: str, max_waiting: int) -> None:
        """`served` is the reranker's name or folder, empty for none; `max_waiting` is in texts."""
        self._models, self._served, self._max_waiting = LoadedModels(load), served, max_waiting
        self._lock = threading.Lock()
        self._waiting = 0

    def get(self, name: str | None) -> Reranker:
        """Returns the reranker of that name, or the one that is served; may load it. Refusal 404, ModelError."""
        if not self._served:
            sentence = "No reranker is served here: PGEMBEDD_HTTP_RERANKER names one."
            raise Refusal(404, sentence, "model_not_found", param="model")
        if name is not None and name.casefold() != self._served.casefold():
            sentence = f"The reranker asked for is not served here; there is {self._served}."
            raise Refusal(404, sentence, "model_not_found", param="model")
        return self._models.get(self._served)

    def start(self, reranker: Reranker, query: str, texts: Sequence[str]) -> Future[Scores]:
        """Tokenises the texts and returns a future of their scores; cancel it to drop them.

        OverloadedError where too many texts wait. A single request may always, however large.
        """
        with self._lock:
            if self._waiting and self._waiting + len(texts) > self._max_waiting:
                waiting = counted(self._waiting, "text waits", "texts wait")
                raise OverloadedError(f"{waiting} for the reranker already; ask again a little later.")
            self._waiting += len(texts)
        try:
            scores = reranker.start(query, texts, lane="query" if len(texts) <= URGENT_TEXTS else "fresh").as_future()
        except BaseException:
            self._release(len(texts))
            raise
        scores.add_done_callback(lambda _: self._release(len(texts)))
        return scores

    def _release(self, texts: int) -> None:
        with self._lock:
            self._waiting -= texts

    def close(self) -> None:
        """Closes the reranker; what waits is cancelled."""
        self._models.close()
