"""op.create_embedding_pipeline(), alter_ and drop_embedding_pipeline(): their operations, execution and rendering."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import DDL, text
from sqlalchemy.exc import DBAPIError

from pgembedd.contrib.alembic.arguments import OperationError, call, checked, literal, options_of
from pgembedd.errors import is_refused_call, refusal_text

_LOCK_NOT_AVAILABLE = "55P03"  # what becomes of a wait for a table that is in use


class _PipelineOp(MigrateOperation):
    """A call of the function `function` of pgembedd's, as the operation `operation` of alembic's."""

    operation: ClassVar[str]
    function: ClassVar[str]

    def __init__(self, options: Mapping[str, Any], **own: str) -> None:
        """`own` are the arguments by position. OperationError for an unknown option or a value of another type."""
        self._own = checked(self.operation, own, dict.fromkeys(own, "text"))
        self.options = checked(self.operation, options, options_of(self.function))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Returns the operation as `alembic check` shows it."""
        return (self.operation, *self._own.values(), self.options)

    def arguments(self) -> dict[str, str]:
        """Returns the arguments of the function in SQL."""
        types = options_of(self.function) | dict.fromkeys(self._own, "text")
        given = self._own | self.options
        return {name: literal(self.operation, name, types[name], value) for name, value in given.items()}

    def source_code(self, prefix: str) -> str:
        """Returns the Python source of the operation in a migration."""
        written = [*map(repr, self._own.values()), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{prefix}{self.operation}({', '.join(written)})"


@Operations.register_operation("create_embedding_pipeline")
class CreateEmbeddingPipelineOp(_PipelineOp):
    """A pipeline to be made: `source` as in SQL ('public.documents'), `options` as of pgembedd.create_pipeline()."""

    operation, function = "create_embedding_pipeline", "create_pipeline"

    def __init__(self, pipeline: str, source: str, **options: Any) -> None:
        """Checks the options; OperationError for an unknown one or a value of another type."""
        super().__init__(options, pipeline=pipeline, source=source)
        self.pipeline, self.source = pipeline, source

    @classmethod
    def create_embedding_pipeline(cls, operations: Operations, pipeline: str, source: str, **options: Any) -> None:
        """Registers a table by pgembedd.create_pipeline(), whose options are passed by name."""
        operations.invoke(cls(pipeline, source, **options))

    def reverse(self) -> DropEmbeddingPipelineOp:
        """Returns the operation that drops the pipeline. A column keeps its vectors: computing them may take hours.

        An embedding table goes, unless it may have been there: this operation has made it, could not make it again over
        one that is there, and its view would keep the source from being dropped.
        """
        found_table = self.options.get("existing_vectors") == "keep" or self.options.get("if_not_exists")
        made_table = self.options.get("embedding_table") is not None and not found_table
        return DropEmbeddingPipelineOp(self.pipeline, reverse=self, **({"drop_vectors": True} if made_table else {}))


@Operations.register_operation("alter_embedding_pipeline")
class AlterEmbeddingPipelineOp(_PipelineOp):
    """A pipeline to be altered; `reverse` is the operation that alters it back, if known."""

    operation, function = "alter_embedding_pipeline", "alter_pipeline"

    def __init__(self, pipeline: str, *, reverse: AlterEmbeddingPipelineOp | None = None, **options: Any) -> None:
        """Checks the options; OperationError for an unknown one or a value of another type."""
        super().__init__(options, pipeline=pipeline)
        self.pipeline, self._reverse = pipeline, reverse

    @classmethod
    def alter_embedding_pipeline(cls, operations: Operations, pipeline: str, **options: Any) -> None:
        """Alters a pipeline by pgembedd.alter_pipeline(), whose options are passed by name."""
        checked(cls.operation, options, options_of(cls.function))  # `reverse` is none
        operations.invoke(cls(pipeline, **options))

    def reverse(self) -> AlterEmbeddingPipelineOp:
        """Returns the operation that alters it back; OperationError if what was altered is unknown."""
        if self._reverse is not None:
            return self._reverse
        if self.options.keys() == {"rename_to"}:
            return AlterEmbeddingPipelineOp(self.options["rename_to"], reverse=self, rename_to=self.pipeline)
        raise OperationError(
            f"How the pipeline {self.pipeline!r} was before is not known: write {self.operation}() yourself."
        )


@Operations.register_operation("drop_embedding_pipeline")
class DropEmbeddingPipelineOp(_PipelineOp):
    """A pipeline to be dropped; `reverse` is the operation that made it, if known."""

    operation, function = "drop_embedding_pipeline", "drop_pipeline"

    def __init__(self, pipeline: str, *, reverse: CreateEmbeddingPipelineOp | None = None, **options: Any) -> None:
        """Checks the options; OperationError for an unknown one or a value of another type."""
        super().__init__(options, pipeline=pipeline)
        self.pipeline, self._reverse = pipeline, reverse

    @classmethod
    def drop_embedding_pipeline(cls, operations: Operations, pipeline: str, **options: Any) -> None:
        """Drops a pipeline by pgembedd.drop_pipeline(), whose options are passed by name."""
        checked(cls.operation, options, options_of(cls.function))  # `reverse` is none
        operations.invoke(cls(pipeline, **options))

    def reverse(self) -> CreateEmbeddingPipelineOp:
        """Returns the operation that made the pipeline; OperationError if it is unknown."""
        if self._reverse is None:
            made = CreateEmbeddingPipelineOp.operation
            raise OperationError(f"How the pipeline {self.pipeline!r} was made is not known: write {made}() yourself.")
        return self._reverse


@Operations.implementation_for(_PipelineOp)
def _run(operations: Operations, operation: _PipelineOp) -> None:
    """Calls the function, or writes the call into the script of --sql. OperationError if the database refuses it."""
    function, arguments = operation.function, operation.arguments()
    if not operations.get_context().as_sql:
        _check_installed(operations, function, arguments)
    try:
        # DDL takes % as a placeholder, but not :name, which text() would look for inside of strings, too.
        operations.execute(DDL(call(function, arguments).replace("%", "%%")))  # type: ignore[no-untyped-call]
    except DBAPIError as error:
        diagnosis = getattr(error.orig, "diag", None)
        if diagnosis is None or not (is_refused_call(diagnosis) or diagnosis.sqlstate == _LOCK_NOT_AVAILABLE):
            raise
        raise OperationError(refusal_text(diagnosis)) from error


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


@renderers.dispatch_for(_PipelineOp)
def _render(context: AutogenContext, operation: _PipelineOp) -> str:
    if any(isinstance(value, timedelta) for value in operation.options.values()):
        context.imports.add("import datetime")
    return operation.source_code(context.opts["alembic_module_prefix"])
