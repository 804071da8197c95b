"""Faults, one after another, under writers that go on, and an oracle that knows what they committed.

`python -m tests.faults` (`make faults`) prints a table: how often each fault struck, and what was lost, stale,
duplicated, failed or stuck after it. The oracle asks nothing of pgembedd: `ledger.py` keeps each committed row outside
the database, and `oracle.py` embeds it again with the same model and compares.
"""
