"""A provider's batches: texts that it embeds within a day, for half the price. The protocol is OpenAI's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson

from pgembedd.errors import ModelError
from pgembedd.model.providers.client import Client
from pgembedd.model.providers.protocol import OpenAI, Seen
from pgembedd.settings.limits import vectors_bytes

FILES, BATCHES = "/v1/files", "/v1/batches"
OUR_NAME = "pgembedd"
"""The member of a batch's metadata that has our name of it."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
PAGE = 100
LIST_BYTES = 4_000_000


class BatchClient:
    """The batches of one model. All methods raise as Client.embed; ModelError for answers of another protocol."""

    def __init__(self, client: Client, protocol: OpenAI, name: str, model: str) -> None:
        """`name` is the provider's."""
        self._client, self._protocol, self._name, self._model = client, protocol, name, model

    def submit(self, name: str, texts: Mapping[str, str]) -> str:
        """Sends texts by their names as a batch that has this name of ours; returns the provider's name of it."""
        path = self._protocol.path
        lines = (
            {
                "custom_id": key,
                "method": "POST",
                "url": path,
                "body": self._client.body(self._model, [text], "document"),
            }
            for key, text in texts.items()
        )
        parts = {"file": (f"{name}.jsonl", b"\n".join(map(orjson.dumps, lines)))}
        form = httpx2.Request("POST", FILES, data={"purpose": "batch"}, files=parts)
        with self._shaped():
            file = self._call("POST", FILES, form.read(), form.headers["content-type"])["id"]
            asked = {"input_file_id": file, "endpoint": path, "completion_window": "24h", "metadata": {OUR_NAME: name}}
            return str(self._call("POST", BATCHES, orjson.dumps(asked))["id"])

    def find(self, name: str) -> str | None:
        """Returns the provider's name of the batch that has this name of ours; None where it has none."""
        after = ""
        with self._shaped():
            while True:
                page = self._call("GET", f"{BATCHES}?limit={PAGE}{after}")
                for batch in page["data"]:
                    if (batch.get("metadata") or {}).get(OUR_NAME) == name:
                        return str(batch["id"])
                if not page.get("has_more"):
                    return None
                after = f"&after={page['data'][-1]['id']}"

    def look(self, batch: str) -> Seen:
        """Returns what became of a batch."""
        with self._shaped():
            found = self._call("GET", f"{BATCHES}/{batch}")
            return Seen(found["status"] in ENDED, str(found["status"]), found.get("output_file_id"))

    def output(self, file: str, texts: int, dims: int) -> dict[str, Any]:
        """Returns the vectors of a batch of so many texts, by the names of the texts; none of those it refused."""
        content = self._client.send("GET", f"{FILES}/{file}/content", vectors_bytes(texts, dims))
        found: dict[str, Any] = {}
        with self._shaped():
            for line in map(orjson.loads, filter(None, content.split(b"\n"))):
                response = line.get("response") or {}
                if response.get("status_code") == 200:
                    (found[line["custom_id"]],) = self._protocol.answer(response["body"]).vectors
        return found

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        return orjson.loads(self._client.send(method, path, LIST_BYTES, body, kind))

    @contextmanager
    def _shaped(self) -> Iterator[None]:
        """Raises ModelError for an answer of another shape."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The provider {self._name} has no batches as OpenAI's: take it out of PGEMBEDD_PROVIDER_BATCH."
            ) from error
