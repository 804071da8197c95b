"""The vectors of texts that this process embedded lately: a text that comes again is not embedded again.

Each owner has its own, so that neither a hit nor its time tells of the texts of another one. They are in the memory of
the process alone.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from pgembedd.model.embedder import Embedder, EmbeddingsFuture, start
from pgembedd.model.files.sources import silent
from pgembedd.model.futures import Embeddings, Kind, Text
from pgembedd.model.providers.configured import split_model
from pgembedd.scheduler import Lane

ENTRY_BYTES = 300  # of an entry besides its vector: a hash, a tuple, numbers, links

Key = bytes
Entry = tuple[bytes, int, int]  # the vector, tokens dropped, tokens


class VectorCache:
    """Vectors by owner, fingerprint, kind and text, of which those that were not asked for lately are forgotten."""

    recalls = True  # what it holds saves the model work

    def __init__(self, most_bytes: int = 0, on_recalled: Callable[[str, int, int], None] = silent) -> None:
        """Holds at most so many bytes; 0: none. `on_recalled` is told of texts that it had and their tokens."""
        self._most_bytes, self._bytes, self._on_recalled = most_bytes, 0, on_recalled
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keys(self, owner: Hashable, model: Embedder, texts: Sequence[Text], kind: Kind) -> list[Key]:
        """Returns the keys of an owner's texts; none where their vectors are not held.

        A provider may give another vector tomorrow, so its vectors are not held.
        """
        if not self._most_bytes or split_model(model.name) is not None:
            return []
        common = sha256(repr((owner, model.fingerprint, kind)).encode())
        keys = []
        for text in texts:
            each = common.copy()
            each.update(text.encode(errors="surrogatepass") if isinstance(text, str) else b"\xff%a" % (text,))
            keys.append(each.digest())
        return keys

    def find(self, model: Embedder, keys: Sequence[Key]) -> Embeddings | None:
        """Returns the embeddings of these keys if it holds all of them."""
        found = self._find(keys)
        if not found or None in found:
            return None
        self._on_recalled(model.name, len(found), sum(entry[2] for entry in found if entry))
        return _embeddings(found)

    def start(
        self, model: Embedder, texts: Sequence[Text], keys: Sequence[Key], lane: Lane, kind: Kind = "document"
    ) -> EmbeddingsFuture:
        """Hands the texts whose vectors it does not hold to the model. Raises nothing, as `start`."""
        if not keys:
            return start(model, texts, lane, kind)
        found = self._find(keys)
        missing = [text for text, entry in zip(texts, found, strict=True) if entry is None]
        if len(missing) < len(texts):
            tokens = sum(entry[2] for entry in found if entry is not None)
            self._on_recalled(model.name, len(texts) - len(missing), tokens)
        return _Completed(self, keys, found, start(model, missing, lane, kind) if missing else None)

    def put(self, entries: Mapping[Key, Entry]) -> None:
        """Holds the vectors of texts; forgets those that were asked for longest ago where there is no room."""
        with self._lock:
            for key, entry in entries.items():
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
        recalled = np.array([self._cache.recalls and entry is not None for entry in self._found])
        if self._pending is None:
            return _embeddings(self._found, recalled)
        given = self._pending.result()
        numbers = (vector.tobytes() for vector in given.vectors)
        fresh = zip(numbers, given.dropped.tolist(), given.tokens.tolist(), strict=True)
        asked = list(zip(self._keys, self._found, strict=True))
        new = {key: next(fresh) for key, entry in asked if entry is None}
        self._cache.put(new)
        return _embeddings([entry or new[key] for key, entry in asked], recalled) if any(self._found) else given


def _embeddings(entries: Sequence[Entry | None], recalled: NDArray[np.bool_] | None = None) -> Embeddings:
    vectors, dropped, tokens = zip(*filter(None, entries), strict=True)
    matrix = np.frombuffer(b"".join(vectors), np.float32).reshape(len(entries), -1)
    return Embeddings(matrix, np.asarray(dropped, np.int32), np.asarray(tokens, np.int32), recalled)
