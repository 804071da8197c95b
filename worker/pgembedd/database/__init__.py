"""Access to Postgres: connections, named statements, the records they return, migrations.

Independent of the models.
"""
