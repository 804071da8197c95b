"""`/v1/models`: embedding models, tables to chat with, and the language models of the server behind."""

import time
from contextlib import suppress
from typing import Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.paths import OPENAI
from pgembedd.http.routes.model_names import ModelNames, model_names
from pgembedd.http.routes.openai import openai_errors
from pgembedd.search.fields import Name


class ModelObject(BaseModel):
    """A served model. Its dimensions and its limit are known once it is loaded."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "pgembedd"
    dimensions: int | None = None
    max_tokens: int | None = None


class ModelList(BaseModel):
    """All that are served, the default one first."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


def router(service: ServiceContext) -> APIRouter:
    """GET /v1/models and /v1/models/{model}."""
    routes = APIRouter(prefix=OPENAI, tags=["openai"])
    any_of = service.authenticator.require("embed", "generate", "answers")
    started = int(time.time())

    @routes.get("/models", responses=openai_errors(401, 403, 429, 500))
    async def models(caller: Caller = any_of) -> ModelList:
        """The models for the caller: embedding; tables to chat with; language models while their server is up."""
        return ModelList(data=_listed(service, await model_names(service, caller), started))

    @routes.get("/models/{model:path}", responses=openai_errors(400, 401, 403, 404, 429, 500))
    async def model(model: Name, caller: Caller = any_of) -> ModelObject:
        """One of them."""
        served = await model_names(service, caller)
        with suppress(Refusal):  # a name in any case
            model = await run_in_threadpool(service.served.name, model)
        found = [one for one in _listed(service, served, started) if one.id == model]
        if not found:
            raise served.not_found()
        return found[0]

    return routes


def _listed(service: ServiceContext, served: ModelNames, created: int) -> list[ModelObject]:
    tables = [ModelObject(id=name, created=created, owned_by="pgembedd-table") for name in served.tables]
    language = [ModelObject(id=name, created=created, owned_by="language-model-server") for name in served.language]
    return [*(_described(service, name, created) for name in served.embedding), *tables, *language]


def _described(service: ServiceContext, name: str, created: int) -> ModelObject:
    """Returns a served model's description, without loading it."""
    embedder = service.models.get_if_loaded(name)
    if embedder is None:
        return ModelObject(id=name, created=created)
    return ModelObject(id=name, created=created, dimensions=embedder.dims, max_tokens=embedder.max_tokens)
