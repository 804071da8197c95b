"""Estimates what a verification asks of a provider of embeddings, before anything is sent to it."""

from dataclasses import dataclass, replace

import psycopg

from pgembedd.database.records import ServedPipeline
from pgembedd.model.providers.configured import Provider, split_model
from pgembedd.model.providers.estimate import cut, estimating_tokenizer
from pgembedd.text.unicode import well_formed
from pgembedd.verify.snapshot import read_rows
from pgembedd.verify.verifier import Options, check, sampled_pages

MOST_ROWS = 300  # that are read for the estimate; it is scaled to the rest


@dataclass(frozen=True)
class Cost:
    """About how many texts a verification sends, and how many tokens they have."""

    texts: int
    tokens: int


def paid_provider(pipeline: ServedPipeline, providers: dict[str, Provider]) -> Provider | None:
    """Returns the provider of the pipeline's model if it has a key, which is what costs; None for any other model."""
    provider_name, _ = split_model(pipeline.model) or ("", "")
    provider = providers.get(provider_name)
    return provider if provider is not None and provider.key_file else None


def estimate_cost(
    connection: psycopg.Connection, pipeline: ServedPipeline, provider: Provider, options: Options
) -> Cost:
    """Reads some of the rows. Their chunks are counted as they are stored, without overlaps."""
    total = check(connection, pipeline)
    wanted = total if options.sample is None else min(options.sample, total)
    most = min(options.sample or MOST_ROWS, MOST_ROWS)
    drawn = replace(options, sample=most)
    tokenizer = estimating_tokenizer(provider.limits.max_tokens)
    rows = texts = tokens = 0
    for ids in sampled_pages(connection, pipeline, drawn, orphans=False):
        for row in read_rows(connection, pipeline.name, ids):
            rows += 1
            if row.state == "ok" and row.vectors:
                _, whole, dropped = cut(tokenizer, well_formed(row.text or ""))
                texts += len(row.vectors)
                tokens += whole if pipeline.chunking else whole - dropped
    whole_table = rows < most  # whatever the planner believes
    scale = 1.0 if whole_table else max(1.0, wanted / rows)
    return Cost(round(texts * scale), round(tokens * scale))
