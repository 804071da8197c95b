"""The HTTP service: endpoints in front of the models and the database. Needs the extra `http`.

Nothing of the package imports it but the command line, and each module here is one capability: its `router(service)`
is mounted in `app.py`.
"""
