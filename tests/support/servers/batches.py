"""A stand-in for a provider with batches, which cannot be had here: OpenAI's files and batches as its documents say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.servers.provider import StandInProvider, answer
from tests.support.servers.stand_in import Answer, Received, json_answer


class StandInBatches(StandInProvider):
    """Answers requests at once, and batches when it is told to `end` them; text with `refused` in it is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self._answer
        self.files: dict[str, bytes] = {}
        self.batches: list[dict[str, Any]] = []
        self.instead: dict[str, Answer] = {}
        """The next answers to posts to these paths, once what was asked for is done."""

    def sent(self) -> list[str]:
        """The texts of all batches."""
        return [
            text
            for batch in self.batches
            for line in self._lines(batch["input_file_id"])
            for text in line["body"]["input"]
        ]

    def asked(self) -> list[str]:
        """The texts of all requests for vectors, but those that a worker probes the model with."""
        return [
            text for each in self.received if each.path == "/v1/embeddings" and len(each.body["input"]) != 3
            for text in each.body["input"]
        ]  # fmt: skip

    def end(self, status: str = "completed") -> None:
        """Ends all batches that are in progress."""
        for number, batch in enumerate(self.batches):
            if batch["status"] == "in_progress":
                if status != "failed":
                    batch["output_file_id"] = name = f"output-{number}"
                    self.files[name] = b"\n".join(map(self._result, self._lines(batch["input_file_id"])))
                batch["status"] = status

    def _lines(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[file].splitlines()]

    @staticmethod
    def _result(line: dict[str, Any]) -> bytes:
        refused = any("refused" in text for text in line["body"]["input"])
        body = json.loads(bytes(answer(Received("POST", line["url"], {}, line["body"])).parts[0]))  # type: ignore[arg-type]
        response = {"status_code": 400 if refused else 200, "body": {} if refused else body}
        return json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}).encode()

    def _answer(self, asked: Received) -> Answer:
        path, _, parameters = asked.path.partition("?")
        if path == "/v1/files":
            name = f"input-{len(self.files)}"
            self.files[name] = asked.body.split(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            made: Any = {"id": name}
        elif path == "/v1/batches" and asked.method == "POST":
            made = {"id": f"batch-{len(self.batches)}", "status": "in_progress", **asked.body}
            self.batches.append(made)
        elif path == "/v1/batches":
            _, _, after = parameters.partition("after=")
            rest = self.batches[[each["id"] for each in self.batches].index(after) + 1 if after else 0 :]
            made = {"data": rest[:1], "has_more": len(rest) > 1}  # the smallest pages
        elif path.startswith("/v1/batches/"):
            made = next(each for each in self.batches if each["id"] == path.rpartition("/")[2])
        elif path.endswith("/content"):
            return Answer(200, {}, [self.files[path.split("/")[3]]])
        else:
            return answer(asked)
        return self.instead.pop(path) if asked.method == "POST" and path in self.instead else json_answer(made)


@pytest.fixture
def batches() -> Iterator[StandInBatches]:
    """A stand-in that listens."""
    with (stand_in := StandInBatches()).running():
        yield stand_in
