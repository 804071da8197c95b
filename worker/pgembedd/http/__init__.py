"""The HTTP service: endpoints in front of the models and the database. Needs the extra `http`.

Nothing of the package imports it but the command line. Each module of `routes` is one capability, whose
`router(service)` is mounted in `app.py`; `context.py` is what they share.
"""
