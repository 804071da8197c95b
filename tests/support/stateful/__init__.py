"""The machine behind tests/sql/test_stateful.py."""
