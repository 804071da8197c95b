"""The vectors of texts that this worker embedded lately: a text that comes again is not embedded again.

Each pipeline has its own, so that neither a hit nor its time tells of the texts of another one. They are in the memory
of the process alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from pgembedd.database.records import ServedPipeline
from pgembedd.model.embedder import Embedder, EmbeddingsFuture, start
from pgembedd.model.futures import Embeddings
from pgembedd.model.providers.configured import split_model
from pgembedd.model.scheduler import Lane
from pgembedd.telemetry.observer import SILENT, Observer

ENTRY_BYTES = 500  # of an entry besides its vector: two hashes, tuples, numbers, links

Key = tuple[int, str, bytes]
Entry = tuple[bytes, int, int]  # the vector, tokens dropped, tokens


class VectorCache:
    """Vectors by pipeline, fingerprint and text, of which those that were not asked for lately are forgotten."""

    def __init__(self, most_bytes: int = 0, observer: Observer = SILENT) -> None:
        """Holds at most so many bytes; 0: it holds none."""
        self._most_bytes, self._bytes, self._observer = most_bytes, 0, observer
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def start(
        self, model: Embedder, pipeline: ServedPipeline, texts: Sequence[str], lane: Lane
    ) -> EmbeddingsFuture | None:
        """Hands the texts whose vectors it does not hold to the model. None without texts. Raises nothing, as `start`.

        A provider may give another vector tomorrow, so its vectors are not held.
        """
        if not texts:
            return None
        if not self._most_bytes or split_model(pipeline.model) is not None:
            return start(model, texts, lane)
        keys = [
            (pipeline.id, model.fingerprint, sha256(text.encode(errors="surrogatepass")).digest()) for text in texts
        ]
        found = self._find(keys)
        missing = [text for text, entry in zip(texts, found, strict=True) if entry is None]
        if len(missing) < len(texts):
            self._observer.recalled(model.name, len(texts) - len(missing))
        return _Completed(self, keys, found, start(model, missing, lane) if missing else None)

    def put(self, key: Key, entry: Entry) -> None:
        """Holds the vector of a text; forgets those that were asked for longest ago where there is no room."""
        with self._lock:
            if key not in self._entries:
                self._bytes += len(entry[0]) + ENTRY_BYTES
            self._entries[key] = entry
            while self._bytes > self._most_bytes:
                _, (vector, _, _) = self._entries.popitem(last=False)
                self._bytes -= len(vector) + ENTRY_BYTES

    def _find(self, keys: Sequence[Key]) -> list[Entry | None]:
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for key, entry in zip(keys, found, strict=True):
                if entry is not None:
                    self._entries.move_to_end(key)
        return found


class _Completed:
    """The embeddings of texts of which some were found, and the others are `pending`."""

    def __init__(
        self,
        cache: VectorCache,
        keys: Sequence[Key],
        found: Sequence[Entry | None],
        pending: EmbeddingsFuture | None,
    ) -> None:
        self._cache, self._keys, self._found, self._pending = cache, keys, found, pending

    def result(self) -> Embeddings:
        """Waits for what is pending; raises the model's error."""
        entries = list(self._found)
        if self._pending is not None:
            given = self._pending.result()
            numbers = (vector.tobytes() for vector in given.vectors)
            fresh = zip(numbers, given.dropped.tolist(), given.tokens.tolist(), strict=True)
            for place in (place for place, entry in enumerate(self._found) if entry is None):
                entries[place] = entry = next(fresh)
                self._cache.put(self._keys[place], entry)
        vectors, dropped, tokens = zip(*filter(None, entries), strict=True)
        matrix = np.frombuffer(b"".join(vectors), np.float32).reshape(len(entries), -1)
        return Embeddings(matrix, np.asarray(dropped, np.int32), np.asarray(tokens, np.int32))
