"""Puts pipelines in the place of the triggers of Supabase's guide, and back; vectors and functions stay."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql

from pgembedd.contrib.model_names import OPENAIS, model_named, name_with_model
from pgembedd.contrib.plan import Column, Plan, Refused, Step, call, create_pipeline, find_column
from pgembedd.database.queries import query
from pgembedd.model.providers.configured import split_model
from pgembedd.model.specs import REGISTRY

QUEUEING, CLEARING = "queue_embeddings", "clear_column"
GUIDES_DIMENSIONS = 1536
VECTOR_TYPES = ("halfvec", "vector")


@dataclass(frozen=True)
class Trigger:
    """One row of pg_trigger; `columns` are those of UPDATE OF, none for every column."""

    schema: str
    table: str
    name: str
    function: str
    arguments: list[str]
    before: bool
    on_insert: bool
    on_update: bool
    conditional: bool
    definition: str
    columns: list[str]

    def drop(self) -> Step:
        """Returns the step that drops the trigger."""
        statement = sql.SQL("drop trigger {} on {}").format(
            sql.Identifier(self.name), sql.Identifier(self.schema, self.table)
        )
        return Step(statement, f"dropped: {_literally(self.definition)};")


@dataclass(frozen=True)
class Options:
    """`made_by` is the model of the existing vectors. `model` embeds the rows again into a new column."""

    made_by: str
    model: str | None = None


def find_plans(connection: psycopg.Connection, options: Options) -> Iterator[Plan | Refused]:
    """Yields a plan for each column that the guide's triggers queue."""
    triggers = [Trigger(*row) for row in connection.execute(query("import_triggers"))]

    def target(trigger: Trigger) -> tuple[str, ...]:
        # By the column, as two content functions for one have to be seen together.
        return (trigger.schema, trigger.table, *trigger.arguments[1:2])

    queueing = sorted((each for each in triggers if _queues(each)), key=target)
    for (schema, table, *_), group in groupby(queueing, key=target):
        found = list(group)
        named = any(each.function == QUEUEING for each in found)
        if any(len(each.arguments) != 2 for each in found):
            yield Refused(f"{schema}.{table}", "its trigger names no content function and column: create a pipeline.")
            continue
        function, column = found[0].arguments
        clearing = [
            each
            for each in triggers
            if (each.schema, each.table, each.function, each.before) == (schema, table, CLEARING, True)
            and each.arguments == [column]
        ]
        about = find_column(connection, schema, table, column, function=function, made_by=options.made_by)
        if named or (about.function is not None and about.type in VECTOR_TYPES):
            yield _plan(column, function, found, clearing, about, options)


def _queues(trigger: Trigger) -> bool:
    """Tells that the trigger calls the guide's function, or one with another name and arguments like the guide's."""
    return trigger.function == QUEUEING or (not trigger.before and len(trigger.arguments) == 2)


def _plan(
    column: str, function: str, queueing: list[Trigger], clearing: list[Trigger], found: Column, options: Options
) -> Plan | Refused:
    about = f'{found.source}, column "{column}"'
    reason = _refusal_reason(column, queueing, found, options)
    if reason is not None:
        return Refused(about, reason)
    if options.model is None:
        destination = {
            "embedding_column": column,
            "dimensions": found.typmod,
            "vector_type": found.type if found.type != "halfvec" else None,
            "distance": found.distance if found.distance != "cosine" else None,
            "existing_vectors": "keep",
        }
    else:
        destination = {"embedding_column": name_with_model(column, options.model)}
    model = options.model or options.made_by
    pipeline = {
        "pipeline": found.free_name if options.model is None else name_with_model(found.free_name, model),
        "source": found.source,
        "content_function": found.function,
        "model": model,
        "watch_columns": _watched(queueing),
        "on_update": "clear" if clearing else None,
        **destination,
    }
    if options.model is None:
        steps = _replace(column, function, [*queueing, *clearing], found, pipeline)
    else:
        steps = (create_pipeline(pipeline),)
    return Plan(about, steps, tuple(_notes(queueing, options)))


def _replace(
    column: str, function: str, triggers: list[Trigger], found: Column, pipeline: dict[str, Any]
) -> tuple[Step, ...]:
    """Returns the steps that replace the triggers; a lock on the table comes first, so that no change is missed."""
    name = pipeline["pipeline"]
    return (
        Step(sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(found.source))),  # quoted by the database
        call("pgembedd_internal._record_triggers", found.source, column, function, [one.name for one in triggers]),
        *(trigger.drop() for trigger in triggers),
        create_pipeline(pipeline | {"backfill": False}),
        call("pgembedd_internal._import_messages", name, done="waiting jobs taken along: {}"),
        call("pgembedd.backfill", name, done="other rows queued, which have no vector: {}"),
    )


def _literally(text: str) -> str:
    """Returns the text with its braces doubled, for str.format."""
    return text.replace("{", "{{").replace("}", "}}")


def find_undo_plans(connection: psycopg.Connection) -> Iterator[Plan]:
    """Yields a plan for each imported column that puts its triggers and waiting jobs back."""
    for source, column, definitions in connection.execute(query("import_undo")):
        undo = call("pgembedd_internal._undo_import", source, column, done="waiting jobs put into embedding_jobs: {}")
        created = tuple(f"created: {definition};" for definition in definitions)
        yield Plan(f'{source}, column "{column}"', (undo,), created)


def _refusal_reason(column: str, queueing: list[Trigger], found: Column, options: Options) -> str | None:
    """Returns the reason why the column cannot be imported, or None."""
    functions = sorted({each.arguments[0] for each in queueing})
    function = functions[0]
    if len(functions) > 1:
        return f"its triggers name {len(functions)} content functions ({', '.join(functions)}): leave one of them."
    if found.function is None:
        return f"there is no function {function} that takes a row of it."
    if found.type not in VECTOR_TYPES:
        return f'it has no column "{column}" of the type halfvec or vector.'
    if any(trigger.on_insert and trigger.conditional for trigger in queueing):
        return (
            "its trigger has a WHEN, which a pipeline has no equal for: let the content function return NULL for rows "
            "that are to have no vector, and make the trigger without it."
        )
    if options.model is not None:
        return None
    if found.pipeline is not None:
        return f'the pipeline "{found.pipeline}" fills it already.'
    if (found.typmod or 0) < 1 or found.makes not in (None, found.typmod):
        return _width_reason(found, options.made_by)
    return None


def _width_reason(found: Column, made_by: str) -> str:
    """Returns the sentence for a column of another width: the models that have it, or a new column."""
    size = f"{found.typmod} dimensions" if (found.typmod or 0) > 0 else "no dimensions"
    widths = {spec.name: spec.dims for spec in REGISTRY.values()} | {OPENAIS: GUIDES_DIMENSIONS}
    models = [f"--made-by {name}" for name, width in widths.items() if width == found.typmod]
    but = f", but {made_by} makes {found.makes}" if found.makes else ""
    which = f"{' or '.join(models)} if its vectors are of that model, else " if models else ""
    return f"it has {size}{but}: {which}--model {made_by} embeds the rows again, into a new column."


def _watched(queueing: list[Trigger]) -> list[str] | None:
    """Returns the columns of UPDATE OF; None (every column) where a trigger names none or there is none."""
    updating = [trigger for trigger in queueing if trigger.on_update]
    if not updating or any(not trigger.columns for trigger in updating):
        return None
    return sorted({column for trigger in updating for column in trigger.columns})


def _notes(queueing: list[Trigger], options: Options) -> Iterator[str]:
    if not any(trigger.on_update for trigger in queueing):
        yield "no trigger of its queued an update; the pipeline watches every column."
    if any(trigger.conditional for trigger in queueing):
        yield "the WHEN of its update trigger is not taken over: the pipeline compares the watched columns."
    if options.model is None:
        yield f"its vectors are taken to be of {options.made_by}; --made-by names another model."
    if (provided := split_model(options.model or options.made_by)) is not None:
        yield f"what changes is sent to {provided[0]} by a worker that has this provider (PGEMBEDD_PROVIDERS_FILE)."


def options_of(made_by: str, model: str | None) -> Options:
    """Builds the Options; ConfigurationError for an unknown model."""
    return Options(model_named(made_by), None if model is None else model_named(model))
