"""Integrations: operations for alembic, and imports from Supabase's guide and from pgai."""
