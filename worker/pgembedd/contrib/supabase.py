"""Imports the triggers of Supabase's guide as pipelines; vectors and functions stay."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg import sql

from pgembedd.contrib.model_names import name_with_model
from pgembedd.contrib.plan import Plan, Refused, Step, create_pipeline
from pgembedd.database.queries import query
from pgembedd.model.specs import ModelSpec, resolve

QUEUEING, CLEARING = "queue_embeddings", "clear_column"
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
    columns: list[str]

    def drop(self) -> Step:
        """Returns the step that drops the trigger."""
        statement = sql.SQL("drop trigger {} on {}").format(
            sql.Identifier(self.name), sql.Identifier(self.schema, self.table)
        )
        return Step(statement, f'dropped the trigger "{self.name}"')


@dataclass(frozen=True)
class Column:
    """A vector column that triggers queue; `typmod` is its dimensions, or -1."""

    source: str
    function: str | None
    type: str | None
    typmod: int
    pipeline: str | None
    own_triggers: bool
    distance: str
    free_name: str


@dataclass(frozen=True)
class Options:
    """`made_by` is the model of the existing vectors. `model` embeds the rows again into a new column."""

    made_by: ModelSpec
    model: ModelSpec | None = None
    drop_triggers: bool = False


def find_plans(connection: psycopg.Connection, options: Options) -> Iterator[Plan | Refused]:
    """Yields a plan for each column that the guide's triggers queue."""
    triggers = [Trigger(*row) for row in connection.execute(query("import_triggers"))]

    def target(trigger: Trigger) -> tuple[str, ...]:
        return (trigger.schema, trigger.table, *trigger.arguments[:2])

    queueing = sorted((each for each in triggers if _queues(each)), key=target)
    for (schema, table, *arguments), group in groupby(queueing, key=target):
        found = list(group)
        named = any(each.function == QUEUEING for each in found)
        if len(arguments) != 2:
            yield Refused(f"{schema}.{table}", "its trigger names no content function and column: create a pipeline.")
            continue
        function, column = arguments
        clearing = [
            each
            for each in triggers
            if (each.schema, each.table, each.function, each.before) == (schema, table, CLEARING, True)
            and each.arguments == [column]
        ]
        values = {"schema": schema, "table": table, "function": function, "column": column}
        row = connection.execute(query("import_column"), values).fetchone()
        assert row is not None
        about = Column(*row)
        if named or (about.function is not None and about.type in VECTOR_TYPES):
            yield _plan(column, function, found, clearing, about, options)


def _queues(trigger: Trigger) -> bool:
    """Tells that the trigger calls the guide's function, or one with another name and arguments like the guide's."""
    return trigger.function == QUEUEING or (not trigger.before and len(trigger.arguments) == 2)


def _plan(
    column: str, function: str, queueing: list[Trigger], clearing: list[Trigger], found: Column, options: Options
) -> Plan | Refused:
    about = f'{found.source}, column "{column}"'
    reason = _refusal_reason(column, function, queueing, found, options)
    if reason is not None:
        return Refused(about, reason)
    if options.model is None:
        destination = {
            "embedding_column": column,
            "vector_type": found.type if found.type != "halfvec" else None,
            "distance": found.distance if found.distance != "cosine" else None,
            "adopt": True,
        }
    else:
        destination = {"embedding_column": name_with_model(column, options.model.name)}
    model = options.model or options.made_by
    pipeline = {
        "name": found.free_name if options.model is None else name_with_model(found.free_name, model.name),
        "source": found.source,
        "content_function": found.function,
        "model": model.name,
        "dimensions": model.dims,
        "watch_columns": _watched(queueing),
        "on_update": "clear" if clearing else None,
        **destination,
    }
    made = f'made the pipeline "{pipeline["name"]}"; {{}} rows queued that have no vector'
    drops = [trigger.drop() for trigger in (*queueing, *clearing)] if options.drop_triggers else []
    return Plan(about, (*drops, Step(create_pipeline(pipeline), made)), tuple(_notes(queueing, options)))


def _refusal_reason(column: str, function: str, queueing: list[Trigger], found: Column, options: Options) -> str | None:
    """Returns the reason why the column cannot be imported, or None."""
    anew = f"--model {options.made_by.name} embeds the rows anew, into a new column."
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
    if found.own_triggers:
        return f'the pipeline "{found.pipeline}" fills it already.'
    if found.typmod != options.made_by.dims:
        size = f"{found.typmod} dimensions" if found.typmod > 0 else "no dimensions"
        return f"it has {size}, but {options.made_by.name} makes {options.made_by.dims}: {anew}"
    if not options.drop_triggers:
        names = ", ".join(trigger.name for trigger in queueing)
        return (
            f"its triggers ({names}) would queue every row twice: --drop-triggers puts the pipeline's in their place. "
            "Without an import a worker serves them as they are."
        )
    return None


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
        yield f"its vectors are taken to be of {options.made_by.name}; --made-by names another model."


def options_of(made_by: str, model: str | None, *, drop_triggers: bool) -> Options:
    """Builds the Options; ConfigurationError for an unknown model."""
    return Options(resolve(made_by), None if model is None else resolve(model), drop_triggers)
