"""Pipelines in a project's own alembic migrations. Importing this registers the operations; see docs/how-to/alembic.md.

The name is not `alembic`, so that `from alembic import op` means alembic wherever it is written.
"""

from pgembedd.contrib.alembic.arguments import OperationError
from pgembedd.contrib.alembic.autogenerate import include_name, include_object, render_item
from pgembedd.contrib.alembic.operations import (
    AlterEmbeddingPipelineOp,
    CreateEmbeddingPipelineOp,
    DropEmbeddingPipelineOp,
)

__all__ = [
    "AlterEmbeddingPipelineOp",
    "CreateEmbeddingPipelineOp",
    "DropEmbeddingPipelineOp",
    "OperationError",
    "include_name",
    "include_object",
    "render_item",
]
