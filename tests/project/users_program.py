"""A program of a user's, which type checkers read as they read one that has pgembedd installed. It is not run."""

from pgembedd import (
    AsyncDatabase,
    Chunk,
    ConfigurationError,
    ContextTooLongError,
    Database,
    Embeddings,
    EmbeddingSession,
    FileOptions,
    Generation,
    GenerationCancelledError,
    GenerationError,
    GenerationPart,
    GenerationTimeoutError,
    GenerationUnavailableError,
    Hit,
    Hits,
    LanguageSession,
    ModelError,
    ModelUnavailableError,
    PgembeddError,
    Pipeline,
    PipelineHit,
    PipelineHits,
    Reranker,
    RunOptions,
    Scores,
    SearchError,
    SearchManyOptions,
    SearchOptions,
    Session,
    SimilarOptions,
    Stream,
    UnknownTokenError,
)


def searches(database: Database) -> list[Hit]:
    """Returns the hits of three searches."""
    options: SearchOptions = {"k": 3, "mode": "semantic", "filter": {"year": {"$gte": 2020}}}
    of_many: SearchManyOptions = {"k": 3}
    like: SimilarOptions = {"min_similarity": 0.5}
    pipelines: list[Pipeline] = database.pipelines()
    try:
        found: Hits = database.search(pipelines[0], "a query", **options)
        many: PipelineHits = database.search_many([one.name for one in pipelines], "a query", **of_many)
        first: PipelineHit = many[0]
        return [*found, *database.similar(first.pipeline, first.key, **like)]
    except SearchError as error:
        raise SystemExit(f"{error.sentence} {error.hint or ''} {error.sqlstate}") from error


async def search_in_a_loop() -> Hits:
    """Returns the hits of a search for asyncio."""
    async with AsyncDatabase("postgresql:///documents") as database:
        return await database.search("documents", "a query", k=3)


def models() -> float:
    """Returns a number that an embedding model and a reranker made."""
    files: FileOptions = {"offline": True}
    try:
        session: EmbeddingSession = Session("gte-small")
        embedded: Embeddings = session.embed(["a text"], kind="query")
        chunks: list[Chunk] = session.split("a text", tokens=20, overlap=0, markdown=False)
        with Reranker(**files) as reranker:
            score = reranker.score("a query", [chunk.text for chunk in chunks])
        scored = Scores(score, embedded.tokens)
        return float(embedded.vectors[0][0]) + float(scored.scores[0])
    except (ConfigurationError, ModelUnavailableError, ModelError, UnknownTokenError) as error:
        raise SystemExit(str(error)) from error


def language() -> str:
    """Returns the text of an answer."""
    session = LanguageSession("mistral", host="http://127.0.0.1:11434")
    options: RunOptions = {"timeout": 10.0}
    try:
        whole: GenerationPart = session.run("a prompt", **options)
        with session.run("a prompt", stream=True) as parts:
            stream: Stream = parts
            return whole.response + "".join(part.response for part in stream)
    except ContextTooLongError as error:
        return f"{error.prompt_tokens} > {error.context_tokens}"
    except GenerationUnavailableError as error:
        return str(error.retry_after_s)
    except (GenerationTimeoutError, GenerationCancelledError, GenerationError, PgembeddError) as error:
        return str(error)


async def language_in_a_loop(session: LanguageSession) -> str:
    """Returns the text of an answer for asyncio."""
    generation: Generation = await session.run_async("a prompt", stream=True)
    return "".join([part.response async for part in generation])
