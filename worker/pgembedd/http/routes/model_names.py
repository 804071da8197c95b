"""The models that a caller may name on `/v1`: embedding models, tables to chat with, language models."""

from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from pgembedd.errors import GenerationError, SearchError, SearchRoleError
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.generation.table_chat import PREFIX


@dataclass(frozen=True)
class ModelNames:
    """The names by kind: the default embedding model first; `language` are those of the language models' server."""

    embedding: list[str]
    tables: list[str]
    language: list[str]

    def not_found(self) -> Refusal:
        """Returns the refusal 404 of a name that is none of them for its path, with all of them."""
        uses = (("for embeddings", self.embedding), ("for chats", [*self.tables, *self.language]))
        listed = "; ".join(f"{use}: {', '.join(names)}" for use, names in uses if names)
        sentence = f"The model asked for is not served here; {listed or 'nor is any other'}."
        return Refusal(404, sentence, "model_not_found", param="model")


async def model_names(service: ServiceContext, caller: Caller) -> ModelNames:
    """Returns what the caller may use; of tables and of the server's models none where they cannot be asked for."""
    return ModelNames(
        await run_in_threadpool(service.served.names) if "embed" in caller.scopes else [],
        await _tables(service, caller) if "answers" in caller.scopes else [],
        await _language_models(service) if "generate" in caller.scopes else [],
    )


async def _tables(service: ServiceContext, caller: Caller) -> list[str]:
    if not caller.search_url:
        return []
    try:
        return [f"{PREFIX}{name}" for name in await run_in_threadpool(service.answers.of(caller).pipelines)]
    except (Refusal, SearchError, SearchRoleError):
        return []


async def _language_models(service: ServiceContext) -> list[str]:
    try:
        return await service.language.models()
    except GenerationError:
        return []
