"""Pipelines in a project's own alembic migrations. Importing this registers the operations; see docs/alembic.md.

The name is not `alembic`, so that `from alembic import op` means alembic wherever it is written.
"""

from worker.operations.autogenerate import include_name, include_object, render_item
from worker.operations.migration import CreateEmbeddingPipelineOp, DropEmbeddingPipelineOp
from worker.operations.options import OperationError

__all__ = [
    "CreateEmbeddingPipelineOp",
    "DropEmbeddingPipelineOp",
    "OperationError",
    "include_name",
    "include_object",
    "render_item",
]
