"""Everything that is said to Postgres: connections, named statements, the records they return, migrations.

The room knows no model.
"""
