"""op.create_embedding_pipeline() and op.drop_embedding_pipeline(): their operations, execution and rendering."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import DDL, text
from sqlalchemy.exc import DBAPIError

from pgembedd.contrib.alembic.arguments import OperationError, call, checked, literal, options_of

_CREATE, _DROP = "create_embedding_pipeline", "drop_embedding_pipeline"

# invalid_parameter_value is what our functions refuse with, insufficient_privilege what the server does;
# lock_not_available is what becomes of a wait for a table that is in use.
_REFUSALS = {"22023", "42501", "55P03"}


@Operations.register_operation(_CREATE)
class CreateEmbeddingPipelineOp(MigrateOperation):
    """A pipeline to be made: `source` as in SQL ('public.documents'), `options` as of pgembedd.create_pipeline()."""

    def __init__(self, name: str, source: str, **options: Any) -> None:
        """Checks the options; OperationError for an unknown one or a value of another type."""
        checked(_CREATE, {"name": name, "source": source}, {"name": "text", "source": "text"})
        self.name = name
        self.source = source
        self.options = checked(_CREATE, options, options_of("create_pipeline"))

    @classmethod
    def create_embedding_pipeline(cls, operations: Operations, name: str, source: str, **options: Any) -> None:
        """Registers a table by pgembedd.create_pipeline(), whose options are passed by name."""
        operations.invoke(cls(name, source, **options))

    def reverse(self) -> DropEmbeddingPipelineOp:
        """Returns the operation that drops the pipeline. A column keeps its vectors: computing them may take hours.

        An embedding table goes, unless it was adopted: this operation has made it, could not make it again over one
        that is there, and its view would keep the source from being dropped.
        """
        made_table = self.options.get("embedding_table") is not None and not self.options.get("adopt")
        return DropEmbeddingPipelineOp(self.name, reverse=self, **({"drop_vectors": True} if made_table else {}))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Returns the operation as `alembic check` shows it."""
        return (_CREATE, self.name, self.source, self.options)

    def arguments(self) -> dict[str, str]:
        """Returns the arguments of pgembedd.create_pipeline() in SQL."""
        types = options_of("create_pipeline")
        own = {"name": literal(_CREATE, "name", "text", self.name)}
        own["source"] = literal(_CREATE, "source", "text", self.source)
        return own | {name: literal(_CREATE, name, types[name], one) for name, one in self.options.items()}


@Operations.register_operation(_DROP)
class DropEmbeddingPipelineOp(MigrateOperation):
    """A pipeline to be dropped; `reverse` is the operation that made it, if known."""

    def __init__(self, name: str, *, reverse: CreateEmbeddingPipelineOp | None = None, **options: Any) -> None:
        """Checks the options; OperationError for an unknown one or a value of another type."""
        checked(_DROP, {"name": name}, {"name": "text"})
        self.name = name
        self.options = checked(_DROP, options, options_of("drop_pipeline"))
        self._reverse = reverse

    @classmethod
    def drop_embedding_pipeline(cls, operations: Operations, name: str, **options: Any) -> None:
        """Drops a pipeline by pgembedd.drop_pipeline(), whose options are passed by name."""
        checked(_DROP, options, options_of("drop_pipeline"))
        operations.invoke(cls(name, **options))

    def reverse(self) -> CreateEmbeddingPipelineOp:
        """Returns the operation that made the pipeline; OperationError if it is unknown."""
        if self._reverse is None:
            raise OperationError(f"How the pipeline {self.name!r} was made is not known: write {_CREATE}() yourself.")
        return self._reverse

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Returns the operation as `alembic check` shows it."""
        return (_DROP, self.name, self.options)

    def arguments(self) -> dict[str, str]:
        """Returns the arguments of pgembedd.drop_pipeline() in SQL."""
        types = options_of("drop_pipeline")
        own = {"name": literal(_DROP, "name", "text", self.name)}
        return own | {name: literal(_DROP, name, types[name], one) for name, one in self.options.items()}


@Operations.implementation_for(CreateEmbeddingPipelineOp)
def _create(operations: Operations, operation: CreateEmbeddingPipelineOp) -> None:
    _run(operations, "create_pipeline", operation.arguments())


@Operations.implementation_for(DropEmbeddingPipelineOp)
def _drop(operations: Operations, operation: DropEmbeddingPipelineOp) -> None:
    _run(operations, "drop_pipeline", operation.arguments())


def _run(operations: Operations, function: str, arguments: dict[str, str]) -> None:
    """Calls the function, or writes the call into the script of --sql. OperationError if the database refuses it."""
    if not operations.get_context().as_sql:
        _check_installed(operations, function, arguments)
    try:
        # DDL takes % as a placeholder, but not :name, which text() would look for inside of strings, too.
        operations.execute(DDL(call(function, arguments).replace("%", "%%")))  # type: ignore[no-untyped-call]
    except DBAPIError as error:
        diagnosis = getattr(error.orig, "diag", None)
        if getattr(diagnosis, "sqlstate", None) not in _REFUSALS:
            raise
        hint = getattr(diagnosis, "message_hint", None)
        raise OperationError(" ".join(filter(None, [getattr(diagnosis, "message_primary", None), hint]))) from error


_PARAMETERS = text("""
    select p.proargnames from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'pgembedd' and p.proname = :function
""")


def _check_installed(operations: Operations, function: str, arguments: dict[str, str]) -> None:
    """Raises OperationError for a missing or older function, whose call would fail with its whole signature."""
    known = operations.get_bind().execute(_PARAMETERS, {"function": function}).scalar()
    if known is None:
        raise OperationError("There is no pgembedd in this database: run `pgembedd migrate` before this migration.")
    for name in arguments:
        if name not in known:
            raise OperationError(
                f"The pgembedd in this database is older than the option {name!r}: run `pgembedd migrate` first."
            )


@renderers.dispatch_for(CreateEmbeddingPipelineOp)
def _render_create(context: AutogenContext, operation: CreateEmbeddingPipelineOp) -> str:
    return _render(context, _CREATE, [operation.name, operation.source], operation.options)


@renderers.dispatch_for(DropEmbeddingPipelineOp)
def _render_drop(context: AutogenContext, operation: DropEmbeddingPipelineOp) -> str:
    return _render(context, _DROP, [operation.name], operation.options)


def _render(context: AutogenContext, operation: str, values: list[str], options: dict[str, Any]) -> str:
    """Returns the Python source of the operation in a migration."""
    if any(isinstance(value, timedelta) for value in options.values()):
        context.imports.add("import datetime")
    written = [*map(repr, values), *(f"{name}={value!r}" for name, value in options.items())]
    return f"{context.opts['alembic_module_prefix']}{operation}({', '.join(written)})"
