"""The OpenAPI document: what the routes declare, and the shapes of errors that they only name.

FastAPI makes a validator of its own for every response that a route declares with a model. There are hundreds of
errors, of two shapes, and none is ever validated: they took most of the time in which a service starts.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_REFERENCE = "#/components/schemas/{model}"


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Returns what a route declares of a response with that body; `NamedModels` has to know the model."""
    return {"content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}}


def event_stream(description: str) -> dict[int | str, dict[str, Any]]:
    """Returns what a route declares of a stream of events."""
    return {200: {"description": description, "content": {"text/event-stream": {}}}}


class NamedModels(FastAPI):
    """An application whose document also has the models that are only named in it."""

    def __init__(self, *named: type[BaseModel], **options: Any) -> None:
        """`options` as for FastAPI."""
        self._named = named
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        """Returns the document."""
        if self.openapi_schema is None:
            _, named = models_json_schema([(model, "serialization") for model in self._named], ref_template=_REFERENCE)
            schemas = super().openapi()["components"]["schemas"]
            schemas.update(named["$defs"])
        return super().openapi()
