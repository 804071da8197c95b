"""`/v1/models`: embedding models, tables to chat with, and the language models of the server behind."""

import time
from typing import Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from pgembedd.errors import GenerationError, SearchError, SearchRoleError
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors import Refusal
from pgembedd.http.routes.openai import openai_errors
from pgembedd.http.table_chat import PREFIX
from pgembedd.http.tokens import Caller
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
    routes = APIRouter(prefix="/v1", tags=["openai"])
    any_of = service.authenticator.require("embed", "generate", "answers")
    started = int(time.time())

    @routes.get("/models", responses=openai_errors(401, 403, 429, 500))
    async def models(caller: Caller = any_of) -> ModelList:
        """The models served, embedding models first; tables to chat with; language models while their server is up."""
        served = await run_in_threadpool(service.served)
        listed = [_described(service, name, started) for name in served]
        listed += [_of_table(name, started) for name in await _tables(service, caller)]
        return ModelList(data=[*listed, *(_of_server(name, started) for name in await _language_models(service))])

    @routes.get("/models/{model:path}", responses=openai_errors(400, 401, 403, 404, 429, 500))
    async def model(model: Name, caller: Caller = any_of) -> ModelObject:
        """One of them."""
        try:
            return _described(service, await run_in_threadpool(service.model_name, model), started)
        except Refusal:
            if model in await _tables(service, caller):
                return _of_table(model, started)
            if model in await _language_models(service):
                return _of_server(model, started)
            raise

    return routes


async def _language_models(service: ServiceContext) -> list[str]:
    """Returns the names of the language models, none where their server cannot be asked."""
    try:
        return await service.language.models()
    except GenerationError:
        return []


async def _tables(service: ServiceContext, caller: Caller) -> list[str]:
    """Returns the pipelines that the caller may ask about, as names of models; none where that cannot be known."""
    if "answers" not in caller.scopes:
        return []
    try:
        return [f"{PREFIX}{name}" for name in await service.answers.pipelines(caller)]
    except (Refusal, SearchError, SearchRoleError):
        return []


def _of_table(name: str, created: int) -> ModelObject:
    return ModelObject(id=name, created=created, owned_by="pgembedd-table")


def _of_server(name: str, created: int) -> ModelObject:
    return ModelObject(id=name, created=created, owned_by="language-model-server")


def _described(service: ServiceContext, name: str, created: int) -> ModelObject:
    """Returns a served model's description, without loading it."""
    embedder = service.models.get_if_loaded(name)
    if embedder is None:
        return ModelObject(id=name, created=created)
    return ModelObject(id=name, created=created, dimensions=embedder.dims, max_tokens=embedder.max_tokens)
