"""Integrations. Public is `pgembedd.contrib.alembic` alone, with what its `__all__` names: operations for alembic.

The other modules are parts of `pgembedd import`, from Supabase's guide and from pgai, and may change in any version.
"""
